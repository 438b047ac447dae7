package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A LeafSet is the leaves of many blobs, in 16 bytes each.
type LeafSet struct{ sorted []shortDigest }

// A shortDigest is the first half of a leaf's digest. It is too long for an attacker
// to make two leaves with the same one.
type shortDigest [sha256.Size / 2]byte

func (d shortDigest) compare(e shortDigest) int { return bytes.Compare(d[:], e[:]) }

// Has reports whether the leaf whose block has the digest is in the set.
func (l *LeafSet) Has(digest [sha256.Size]byte) bool {
	_, has := slices.BinarySearchFunc(l.sorted, shortDigest(digest[:]), shortDigest.compare)
	return has
}

// Len returns the number of leaves.
func (l *LeafSet) Len() int { return len(l.sorted) }

// Leaves returns the leaves of all kept blobs, except those of the given files.
func (s *Store) Leaves(ctx context.Context, except ...cid.Cid) (*LeafSet, error) {
	l := new(LeafSet)
	err := s.EachLeaf(ctx, func(digest [sha256.Size]byte) {
		l.sorted = append(l.sorted, shortDigest(digest[:]))
	}, except...)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.sorted, shortDigest.compare)
	l.sorted = slices.Clip(slices.Compact(l.sorted))
	return l, nil
}

// EachLeaf calls visit with the digest of each leaf of all kept blobs, except those of
// the given files. It leaves out leaf tables that it cannot read: it serves to find out
// what blobs share, and Collect reports damage.
func (s *Store) EachLeaf(ctx context.Context, visit func(digest [sha256.Size]byte), except ...cid.Cid) error {
	listed, err := s.tables()
	if err != nil {
		return err
	}
	leftOut := map[nodeKey]bool{}
	for _, c := range except {
		leftOut[keyOf(c)] = true
	}
	for _, c := range listed {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if leftOut[keyOf(c)] {
			continue
		}
		_, table, err := s.file(c)
		if errors.Is(err, fs.ErrPermission) {
			return err
		}
		if err != nil {
			continue
		}
		for i := range table.Leaves {
			visit(table.Leaves[i].Digest)
		}
	}
	return nil
}

// Tables returns the number of kept leaf tables. Each file has one.
func (s *Store) Tables() (int, error) {
	listed, err := s.tables()
	return len(listed), err
}

// tables lists the files whose leaf tables are kept.
func (s *Store) tables() ([]cid.Cid, error) {
	entries, err := s.readDir(filepath.Join(s.dir, string(files)))
	if err != nil {
		return nil, fmt.Errorf("listing the store's blobs: %w", err)
	}
	var listed []cid.Cid
	for _, e := range entries {
		if c, ok := parseKey(e.Name()); ok {
			listed = append(listed, c)
		}
	}
	return listed, nil
}

// CheckTable returns an error if the leaves in the store's table of a file are not
// those in the file's nodes. Reading the blob does not show that.
func (s *Store) CheckTable(f *unixfs.File) error {
	_, table, err := s.anyFile(f.CID)
	switch {
	case errors.Is(err, ErrLacking) && len(f.Nodes) == 0: // a small file has no table
		return nil
	case err != nil:
		return err
	case table.Wrapped != f.Table.Wrapped || !slices.Equal(table.Leaves, f.Table.Leaves):
		return fmt.Errorf("%s is %w: its leaves are not those of the file's nodes", s.filePath(f.CID), ErrDamaged)
	}
	return nil
}
