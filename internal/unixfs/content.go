package unixfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// ErrTooLarge says that a file is larger than the caller of ReadAll allows.
var ErrTooLarge = errors.New("too large a file for what it should be")

// uncounted is the size of files, in bytes, that are read without memory of the budget.
const uncounted = 64 << 10

// ReadAll returns the content of a file of at most limit bytes. The error for a larger
// file is ErrTooLarge. While a large file is read, its memory counts for the budget of the
// process; a caller that keeps the content for long takes the memory itself.
func ReadAll(ctx context.Context, get Getter, c cid.Cid, limit int64) ([]byte, error) {
	first, err := get(ctx, c)
	if err != nil {
		return nil, err
	}
	size, err := FileSize(Block{c, first})
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", size, limit, ErrTooLarge)
	}
	if size > uncounted {
		release, err := budget.Process().Take(ctx, size)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	data := make([]byte, 0, size)
	err = Stream(ctx, get, c, 0, size, func(b []byte) error {
		data = append(data, b...)
		return nil
	})
	return data, err
}

// Stream passes the bytes [from, to) of a file to emit in pieces, whatever the shape of
// its DAG. It gets blocks depth first, each as often as it occurs, and no block that
// lies outside of the range. It does not use a block after it gets the next one, and
// emit must not keep its argument.
//
// The size of the range bounds the cost of reading. When ctx is done, Stream ends before
// the next block.
func Stream(ctx context.Context, get Getter, c cid.Cid, from, to int64, emit func([]byte) error) error {
	if from >= to {
		return nil
	}
	s := streamer{ctx: ctx, get: get, from: from, to: to, emit: emit, cost: contentCost(to - from)}
	if err := s.node(c, -1, maxFileDepth); err != nil {
		return err
	}
	if s.at < to {
		return fmt.Errorf("file %s has %d bytes, fewer than it states", c, s.at)
	}
	return nil
}

type streamer struct {
	ctx      context.Context
	get      Getter
	at       int64 // offset of the next byte
	from, to int64
	emit     func([]byte) error
	cost     cost
	links    int // including those that are skipped
}

// lookUp is how many bytes are decoded in about the time that a look-up takes.
const lookUp = 256

var errTooDeep = errors.New("a file with more links or levels than an image may have")

// node streams the file below a node, which has size bytes, or an unknown number of
// bytes if size is negative.
func (s *streamer) node(c cid.Cid, size int64, depth int) error {
	if depth == 0 {
		return errTooDeep
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	data, err := s.get(s.ctx, c)
	if err == nil {
		err = budget.Spend(s.ctx, max(len(data), lookUp))
	}
	if err != nil {
		return err
	}
	if err := s.cost.spend(Block{c, data}); err != nil {
		return err
	}
	content, isLeaf := data, c.Type() == cid.Raw
	if c.Type() == cid.DagProtobuf {
		content, isLeaf = unwrap(data, int(size))
	}
	if !isLeaf {
		return s.fileNode(Block{c, data}, size, depth)
	}
	if n := int64(len(content)); size >= 0 && n != size {
		return fmt.Errorf("%s has %d bytes, and the node above it states %d", c, n, size)
	}
	return s.write(content)
}

func (s *streamer) fileNode(b Block, size int64, depth int) error {
	n, err := parseInTurn(s.ctx, b)
	if err != nil {
		return err
	}
	if len(n.sizes) != len(n.links) {
		return fmt.Errorf("%s does not have a size for each of its links", b.CID)
	}
	if size >= 0 && n.bytes != size {
		return fmt.Errorf("%s has %d bytes, and the node above it states %d", b.CID, n.bytes, size)
	}
	if err := s.write(n.data); err != nil {
		return err
	}
	for i, l := range n.links {
		if err := s.link(l.CID, int64(n.sizes[i]), depth); err != nil {
			return err
		}
	}
	return nil
}

// link streams what is below a link, unless that is outside of the range.
func (s *streamer) link(c cid.Cid, size int64, depth int) error {
	if s.at >= s.to {
		return nil
	}
	if s.links++; s.links > 2*maxLeaves {
		return errTooDeep
	}
	if size == 0 || s.at+size <= s.from {
		s.at += size
		return nil
	}
	return s.node(c, size, depth-1)
}

// write emits the part of data that is in the range.
func (s *streamer) write(data []byte) error {
	start := s.at
	s.at += int64(len(data))
	lo := max(0, s.from-start)
	hi := min(int64(len(data)), s.to-start)
	if lo >= hi {
		return nil
	}
	return s.emit(data[lo:hi])
}
