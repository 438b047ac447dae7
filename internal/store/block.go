package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Block returns a block as it is on disk, unverified: a directory, a node of a
// file, a small file, or a blob that is one block. Other leaves are parts of
// blobs. Where the store does not have it, the error is fs.ErrNotExist.
func (s *Store) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := s.node(ctx, c)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	d, table, err := s.anyFile(c)
	if err != nil {
		return nil, err
	}
	if len(table.Leaves) != 1 {
		return nil, fmt.Errorf("block %s is a node of a blob: %w", c, ErrLacking)
	}
	f, err := s.OpenBlob(d, table.Size())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	leaf := make([]byte, table.Size())
	if _, err := f.ReadAt(leaf, 0); err != nil {
		return nil, err
	}
	return table.Block(0, leaf).Data, nil
}

// Trail returns the CIDs on the slash-separated path below root, that of what it
// ends at last. Where the store does not have it, the error is fs.ErrNotExist.
func (s *Store) Trail(ctx context.Context, root cid.Cid, path string) ([]cid.Cid, error) {
	return unixfs.Trail(ctx, s.node, root, path)
}
