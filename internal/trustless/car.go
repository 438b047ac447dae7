package trustless

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// carBlocks are the blocks of a CAR, read as they come. Their close must be called in the
// end.
type carBlocks struct {
	Session
	body     *io.LimitedReader
	progress func(bytes int) // called for each block that is wanted
	car      *car.Reader     // nil until something is read
	leaves   bool            // whether the blocks are leaves, too many to be remembered
	leaf     []byte          // the memory for one of them, until the next is read
	early    earlyBlocks
	err      error
}

// blocksOf reads a CAR of at most limit bytes.
func (s Session) blocksOf(body io.Reader, limit int64) *carBlocks {
	return &carBlocks{
		Session:  s,
		body:     &io.LimitedReader{R: body, N: limit},
		progress: func(bytes int) { gateway.Progress(body, bytes) },
		early:    earlyBlocks{client: s.Client},
	}
}

func (b *carBlocks) close() { b.early.clear() }

// get is a unixfs.Getter.
func (b *carBlocks) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if !b.isLeaf(c) {
		if data, err := b.known(ctx, c); !isUnavailable(err) {
			b.early.follow(data)
			return data, err
		}
	}
	data, came := b.early.take(c)
	for !came && b.err == nil {
		var got unixfs.Block
		if got, b.err = b.next(); b.err != nil {
			break
		}
		data, came = got.Data, bytes.Equal(got.CID.Hash(), c.Hash())
		if !came && !b.leaves {
			b.err = b.early.add(got)
		}
	}
	if !came {
		return nil, unavailableError{b.err}
	}
	if b.leaves { // the delivery counts the new bytes
		b.progress(0)
		return data, nil
	}
	b.progress(len(data))
	b.early.follow(data)
	b.remember(unixfs.Block{CID: c, Data: data})
	return data, nil
}

// isLeaf reports whether the CAR has c among its leaves. Such blocks are not remembered,
// and looking for each of them on disk would cost more than reading it from the CAR.
func (b *carBlocks) isLeaf(c cid.Cid) bool {
	_, inline := unixfs.Inline(c)
	return b.leaves && c.Type() == cid.Raw && !inline
}

// next reads and verifies a block.
func (b *carBlocks) next() (unixfs.Block, error) {
	if b.car == nil {
		r, err := car.NewReader(b.body)
		if err != nil {
			return unixfs.Block{}, err
		}
		b.car = r
	}
	c, _, err := b.car.Next()
	if err == io.EOF {
		return unixfs.Block{}, errors.New("the CAR ends before the block that comes next")
	}
	if err != nil {
		return unixfs.Block{}, err
	}
	data, err := b.car.BlockIn(b.leaf)
	if err != nil {
		return unixfs.Block{}, err
	}
	if b.leaves {
		b.leaf = data
	}
	got := unixfs.Block{CID: c, Data: data}
	if err := got.Verify(); err != nil {
		return unixfs.Block{}, err
	}
	return got, nil
}

const (
	maxEarlyBytes = 16 << 20 // of one CAR
	maxEarly      = 1024     // blocks of one CAR
	maxFollowed   = 16       // blocks that an early one may be a child of
	maxSearched   = 1 << 30  // bytes of parents that are searched for links, for one CAR
	maxUnlinked   = 2 << 20  // bytes of blocks that no parent links to, in one CAR
)

// earlyBlocks are blocks that came before they were wanted. Gateways are asked for depth
// first order, and some send another. Since a gateway could send any blocks, only those
// are kept that a verified block of the DAG links to, and only while the budget has room.
type earlyBlocks struct {
	client   *Client
	blocks   map[string]earlyBlock // by multihash
	bytes    int                   // of them
	followed [][]byte              // the last blocks that were read
	came     int                   // blocks that came early, kept or not
	searched int                   // bytes
	unlinked int                   // bytes
}

type earlyBlock struct {
	data    []byte
	release func()
}

// follow notes a block whose children may come now.
func (e *earlyBlocks) follow(data []byte) {
	if len(e.followed) == maxFollowed {
		e.followed = e.followed[1:]
	}
	e.followed = append(e.followed, data)
}

// add keeps a block that may be wanted later. After an error, the CAR is not worth
// reading on.
func (e *earlyBlocks) add(b unixfs.Block) error {
	if e.came++; e.came > maxEarly {
		return fmt.Errorf("more than %d blocks before the one that comes next", maxEarly)
	}
	key := string(b.CID.Hash())
	_, inline := unixfs.Inline(b.CID)
	_, known := e.client.recall(b.CID)
	_, kept := e.blocks[key]
	if inline || known || kept {
		return nil
	}
	if !e.isChild(b.CID) {
		if e.unlinked += len(b.Data); e.unlinked > maxUnlinked {
			return fmt.Errorf("more than %d bytes of blocks to which no earlier block links", maxUnlinked)
		}
		return nil
	}
	release, ok := e.client.early.TryTake(int64(len(b.Data)))
	if !ok {
		return errors.New("no memory for blocks before the one that comes next")
	}
	if e.bytes += len(b.Data); e.bytes > maxEarlyBytes {
		release()
		return fmt.Errorf("more than %d bytes before the block that comes next", maxEarlyBytes)
	}
	if e.blocks == nil {
		e.blocks = map[string]earlyBlock{}
	}
	e.blocks[key] = earlyBlock{b.Data, release}
	return nil
}

// isChild reports whether one of the last blocks, or an early one, links to c. A link
// contains the multihash as it is.
func (e *earlyBlocks) isChild(c cid.Cid) bool {
	if slices.ContainsFunc(e.followed, func(parent []byte) bool { return e.links(parent, c) }) {
		return true
	}
	for _, b := range e.blocks {
		if e.links(b.data, c) {
			return true
		}
	}
	return false
}

func (e *earlyBlocks) links(parent []byte, c cid.Cid) bool {
	e.searched += len(parent)
	return e.searched <= maxSearched && bytes.Contains(parent, c.Hash())
}

// take returns an early block once it is wanted.
func (e *earlyBlocks) take(c cid.Cid) ([]byte, bool) {
	key := string(c.Hash())
	b, came := e.blocks[key]
	if came {
		delete(e.blocks, key)
		e.bytes -= len(b.data)
		b.release()
	}
	return b.data, came
}

func (e *earlyBlocks) clear() {
	for _, b := range e.blocks {
		b.release()
	}
	e.blocks, e.bytes = nil, 0
}
