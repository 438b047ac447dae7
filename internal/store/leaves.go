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
// It reads every leaf table. What it cannot read is left out: the set is for
// telling what is shared, and finding damage is Collect's.
func (s *Store) Leaves(ctx context.Context, except ...cid.Cid) (*LeafSet, error) {
	entries, err := readDir(filepath.Join(s.dir, "files"))
	if err != nil {
		return nil, fmt.Errorf("listing the store's blobs: %w", err)
	}
	leftOut := map[nodeKey]bool{}
	for _, c := range except {
		leftOut[keyOf(c)] = true
	}
	l := new(LeafSet)
	for _, e := range entries {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c, ok := parseKey(e.Name())
		if !ok || leftOut[keyOf(c)] {
			continue
		}
		_, table, err := s.file(c)
		if errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if err != nil {
			continue
		}
		for i := range table.Leaves {
			l.sorted = append(l.sorted, shortDigest(table.Leaves[i].Digest[:]))
		}
	}
	slices.SortFunc(l.sorted, shortDigest.compare)
	l.sorted = slices.Clip(slices.Compact(l.sorted))
	return l, nil
}
