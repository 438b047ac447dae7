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
)

// A LeafSet is the leaves of many blobs, in 16 bytes each.
type LeafSet struct{ sorted []shortDigest }

// A shortDigest is the first half of a leaf's digest: nobody can make a leaf
// that is taken for another by it.
type shortDigest [sha256.Size / 2]byte

func (d shortDigest) compare(e shortDigest) int { return bytes.Compare(d[:], e[:]) }

// Has reports whether a leaf is in the set, by the digest of its block.
func (l *LeafSet) Has(digest [sha256.Size]byte) bool {
	_, has := slices.BinarySearchFunc(l.sorted, shortDigest(digest[:]), shortDigest.compare)
	return has
}

// Len returns the number of leaves.
func (l *LeafSet) Len() int { return len(l.sorted) }

// Leaves returns the leaves of all blobs in the store, but for the given files.
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

// EachLeaf hands the digests of the leaves of all blobs in the store, but for
// the given files, to visit. It reads every leaf table. What it cannot read is
// left out: it is for telling what is shared, and finding damage is Collect's.
func (s *Store) EachLeaf(ctx context.Context, visit func(digest [sha256.Size]byte), except ...cid.Cid) error {
	files, err := s.files()
	if err != nil {
		return err
	}
	leftOut := map[nodeKey]bool{}
	for _, c := range except {
		leftOut[keyOf(c)] = true
	}
	for _, c := range files {
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

// Tables returns how many leaf tables there are, one for each file of a blob.
func (s *Store) Tables() (int, error) {
	files, err := s.files()
	return len(files), err
}

// files lists the files of which there is a leaf table.
func (s *Store) files() ([]cid.Cid, error) {
	entries, err := readDir(filepath.Join(s.dir, "files"))
	if err != nil {
		return nil, fmt.Errorf("listing the store's blobs: %w", err)
	}
	var files []cid.Cid
	for _, e := range entries {
		if c, ok := parseKey(e.Name()); ok {
			files = append(files, c)
		}
	}
	return files, nil
}
