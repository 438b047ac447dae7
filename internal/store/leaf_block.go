package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// LeafBlocks finds the blocks of leaves: the parts of blobs that have CIDs of their own. It
// uses a LeafIndex that includes the smallest leaves, and has the same bounds. It takes no
// memory before the first look-up.
type LeafBlocks struct {
	index  *LeafIndex
	tables *memo.Cache[string, *unixfs.Table] // by file
}

// maxTables is how many bytes of leaf tables are remembered for the next look-ups.
const maxTables = 8 << 20

// NewLeafBlocks returns the leaf blocks of the kept and cached blobs of a store.
func (s *Store) NewLeafBlocks() *LeafBlocks {
	x := s.NewLeafIndex()
	x.least = 0
	return &LeafBlocks{x, memo.NewCache(maxTables, func(file string, t *unixfs.Table) int {
		return len(file) + len(t.Leaves)*(leafRecord+4)
	})}
}

// A LeafBlock is the block of a leaf, in the open file of a blob. It is not verified. The
// caller must close it.
type LeafBlock struct {
	io.ReadSeeker
	Size  int64 // bytes
	close func() error
}

// Close closes the blob's file.
func (b *LeafBlock) Close() error { return b.close() }

// Open opens the block of a leaf. The error is ErrLacking if no blob in the index has
// the leaf.
func (l *LeafBlocks) Open(ctx context.Context, c cid.Cid) (*LeafBlock, error) {
	hash, err := mh.Decode(c.Hash())
	if err != nil || hash.Code != mh.SHA2_256 || len(hash.Digest) != sha256.Size {
		return nil, fmt.Errorf("block %s is not a leaf: %w", c, ErrLacking)
	}
	leaf := [sha256.Size]byte(hash.Digest)
	_, _, known := l.index.find(leaf)
	if !known {
		if err := l.index.Learn(ctx); err != nil {
			return nil, err
		}
	}
	block, err := l.find(ctx, leaf)
	if known && errors.Is(err, ErrLacking) {
		did, failed := l.index.LearnAgain(ctx)
		if failed != nil {
			return nil, failed
		}
		if did {
			block, err = l.find(ctx, leaf)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", c, err)
	}
	return block, nil
}

// find opens the block of a leaf where the index says that it is.
func (l *LeafBlocks) find(ctx context.Context, leaf [sha256.Size]byte) (*LeafBlock, error) {
	blob, offset, ok := l.index.find(leaf)
	if !ok {
		return nil, ErrLacking
	}
	table, err := l.table(ctx, blob.file)
	if err != nil {
		return nil, err
	}
	i := sort.Search(len(table.Leaves), func(i int) bool { return table.Leaves[i].End >= offset })
	for ; i < len(table.Leaves) && table.Start(i) <= offset; i++ { // an empty leaf ends where it begins
		if table.Start(i) == offset && table.Leaves[i].Digest == leaf {
			return l.open(blob, table, i)
		}
	}
	return nil, ErrLacking
}

// table returns the leaf table of a file.
func (l *LeafBlocks) table(ctx context.Context, file cid.Cid) (*unixfs.Table, error) {
	name := file.KeyString()
	if known, ok := l.tables.Get(name); ok {
		return known, nil
	}
	var size int64
	for _, sh := range []shelf{l.index.store.shelf, l.index.store.cached} {
		if info, err := sh.lstat(sh.filePath(file)); err == nil {
			size = max(size, info.Size())
		}
	}
	release, err := budget.Process().Take(ctx, 3*size) // the record twice, and the table
	if err != nil {
		return nil, err
	}
	defer release()
	_, table, err := l.index.store.anyFile(file)
	if err == nil {
		l.tables.Add(name, table)
	}
	return table, err
}

func (l *LeafBlocks) open(blob indexedBlob, t *unixfs.Table, i int) (*LeafBlock, error) {
	f, err := l.index.store.OpenBlob(blob.digest, blob.size)
	if err != nil {
		return nil, err
	}
	part := io.NewSectionReader(f, t.Start(i), int64(t.Len(i)))
	if !t.Wrapped {
		return &LeafBlock{part, part.Size(), f.Close}, nil
	}
	defer f.Close()
	data := make([]byte, t.Len(i))
	if _, err := io.ReadFull(part, data); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is %w", f.Name(), ErrDamaged), err)
	}
	block := t.Block(i, data).Data
	return &LeafBlock{bytes.NewReader(block), int64(len(block)), func() error { return nil }}, nil
}
