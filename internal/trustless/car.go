package trustless

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A carBlocks gives the blocks of a CAR as they come, in the order in which they
// are in it. Close must be called in the end.
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
	if data, err := b.known(ctx, c); !isUnavailable(err) {
		b.early.follow(data)
		return data, err
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
	if b.leaves { // whoever writes them knows how many bytes are new
		b.progress(0)
		return data, nil
	}
	b.progress(len(data))
	b.early.follow(data)
	b.remember(unixfs.Block{CID: c, Data: data})
	return data, nil
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
	maxEarly      = 1024     // blocks of one CAR
	maxEarlyBytes = 16 << 20 // of all CARs that a client reads at the same time
	maxFollowed   = 16       // blocks that an early one may be a child of
	maxSearched   = 1 << 30  // bytes that are searched for links to early blocks of one CAR
)

// earlyBlocks are blocks that came before they were wanted: gateways are asked for
// them depth first, and not all obey. A gateway could send any blocks, so only
// those are kept that a block which was just read links to, as long as the client
// has room for them.
type earlyBlocks struct {
	client   *Client
	blocks   map[string][]byte // by multihash
	followed [][]byte          // the last blocks that were read
	came     int               // blocks before they were wanted
	searched int               // bytes
}

// follow notes a block whose children may come now.
func (e *earlyBlocks) follow(data []byte) {
	if len(e.followed) == maxFollowed {
		e.followed = e.followed[1:]
	}
	e.followed = append(e.followed, data)
}

// add keeps a block that may be wanted later. An error says that the CAR is not
// worth reading on.
func (e *earlyBlocks) add(b unixfs.Block) error {
	if e.came++; e.came > maxEarly {
		return fmt.Errorf("more than %d blocks before the one that comes next", maxEarly)
	}
	key := string(b.CID.Hash())
	_, inline := unixfs.Inline(b.CID)
	_, known := e.client.recall(b.CID)
	if inline || known || e.blocks[key] != nil || !e.isChild(b.CID) {
		return nil
	}
	if e.client.early.Add(int64(len(b.Data))) > maxEarlyBytes {
		e.client.early.Add(-int64(len(b.Data)))
		return errors.New("no room for blocks before the one that comes next")
	}
	if e.blocks == nil {
		e.blocks = map[string][]byte{}
	}
	e.blocks[key] = b.Data
	return nil
}

// isChild reports whether a block that was read, or an early one, links to c. A
// link has the multihash in it as it is.
func (e *earlyBlocks) isChild(c cid.Cid) bool {
	return e.links(slices.Values(e.followed), c) || e.links(maps.Values(e.blocks), c)
}

func (e *earlyBlocks) links(parents iter.Seq[[]byte], c cid.Cid) bool {
	for parent := range parents {
		if e.searched += len(parent); e.searched > maxSearched {
			return false
		}
		if bytes.Contains(parent, c.Hash()) {
			return true
		}
	}
	return false
}

// take returns an early block once it is wanted.
func (e *earlyBlocks) take(c cid.Cid) ([]byte, bool) {
	key := string(c.Hash())
	data, came := e.blocks[key]
	if came {
		delete(e.blocks, key)
		e.client.early.Add(-int64(len(data)))
	}
	return data, came
}

func (e *earlyBlocks) clear() {
	for _, data := range e.blocks {
		e.client.early.Add(-int64(len(data)))
	}
	e.blocks = nil
}
