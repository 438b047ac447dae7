package provide

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A carFile is the unixfs.FileVisitor that writes the blocks of a file.
type carFile struct {
	*carWalk
	blob *store.File // nil if no store has the file as a blob
}

// Wants implements unixfs.FileVisitor.
func (f carFile) Wants(c cid.Cid, isWhole bool) bool {
	return f.r.car.dups || !isWhole || !f.blocks.isComplete(c)
}

// Node implements unixfs.FileVisitor.
func (f carFile) Node(ctx context.Context, b unixfs.Block, isWhole bool) (leave func(), err error) {
	if err := f.put(ctx, b); err != nil {
		return nil, err
	}
	if isWhole {
		f.blocks.complete(b.CID)
	}
	return f.hold(b)
}

// Leaf implements unixfs.FileVisitor.
func (f carFile) Leaf(ctx context.Context, c cid.Cid, offset, size int64) error {
	isNew, err := f.admit(ctx, c)
	if err != nil || !isNew {
		return err
	}
	if f.blob == nil {
		data, err := f.anyBlock(ctx, c)
		if err != nil {
			return err
		}
		return f.car.Put(unixfs.Block{CID: c, Data: data})
	}
	part := io.NewSectionReader(f.blob, offset, size)
	if c.Type() == cid.Raw {
		return f.car.PutFrom(c, size, part)
	}
	f.buf = slices.Grow(f.buf[:0], int(size))[:size]
	if _, err := io.ReadFull(part, f.buf); err != nil {
		return fmt.Errorf("reading leaf %s from %s: %w", c, f.blob.Name(), err)
	}
	b, err := unixfs.LeafBlock(c, f.buf)
	if err != nil {
		return err
	}
	return f.car.Put(b)
}

// A blockSet remembers the blocks that were written to a CAR, so that none is written twice.
// Its memory counts against the budget.
type blockSet struct {
	share *budget.Share
	has   map[shortHash]bool // whether all blocks below it were written as well, or will be
	room  int                // how many more blocks there is memory for
}

// A shortHash is the last part of a CID's multihash. It is too long for an attacker to make
// two blocks with the same one.
type shortHash [16]byte

func shortHashOf(c cid.Cid) (h shortHash) {
	hash := c.Hash()
	copy(h[:], hash[max(0, len(hash)-len(h)):])
	return h
}

const (
	// blockMemory is about how many bytes a block takes in a set.
	blockMemory = 48

	// blocksAtOnce is the number of blocks for which memory is taken at once.
	blocksAtOnce = 1 << 10
)

func newBlockSet(r *Request) blockSet {
	return blockSet{share: budget.BlockSets().Share(r.Context()), has: map[shortHash]bool{}}
}

// close gives the memory back.
func (s *blockSet) close() { s.share.Close() }

// add adds a block, and reports whether it is new.
func (s *blockSet) add(ctx context.Context, c cid.Cid) (bool, error) {
	h := shortHashOf(c)
	if _, known := s.has[h]; known {
		return false, nil
	}
	if s.room == 0 {
		if err := s.share.Grow(ctx, blocksAtOnce*blockMemory); err != nil {
			return false, fmt.Errorf("remembering %d blocks: %w", len(s.has), err)
		}
		s.room = blocksAtOnce
	}
	s.room--
	s.has[h] = false
	return true, nil
}

// complete notes that all blocks below a block were written, or will be.
func (s *blockSet) complete(c cid.Cid) {
	h := shortHashOf(c)
	if _, known := s.has[h]; known {
		s.has[h] = true
	}
}

func (s *blockSet) isComplete(c cid.Cid) bool { return s.has[shortHashOf(c)] }
