package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// maxUnnamed is how many manifests are read at most to find one by its digest.
const maxUnnamed = 16

// An unnamedIndex finds those manifests of an image by digest that are not named by their
// digest. The converter and ipdr leave no such manifests. Content never changes, so each
// manifest is read once for each algorithm, however many unknown digests are asked for.
type unnamedIndex struct {
	Image
	turn chan struct{} // has a value while a caller reads or writes scans

	scans map[digest.Algorithm]*scan
}

// A scan is the index of one algorithm, as far as manifests were read.
type scan struct {
	unread []string
	names  map[digest.Digest]string
}

func newUnnamedIndex(img Image) *unnamedIndex {
	return &unnamedIndex{Image: img, turn: make(chan struct{}, 1), scans: map[digest.Algorithm]*scan{}}
}

// manifest returns the manifest with a digest, or fs.ErrNotExist.
func (x *unnamedIndex) manifest(ctx context.Context, tree Tree, d digest.Digest) (Manifest, error) {
	select {
	case x.turn <- struct{}{}:
		defer func() { <-x.turn }()
	case <-ctx.Done():
		return Manifest{}, context.Cause(ctx)
	}
	s, err := x.scan(ctx, tree, d.Algorithm())
	if err != nil {
		return Manifest{}, err
	}
	if name, ok := s.names[d]; ok {
		return readAs(ctx, tree, x.place(name), d)
	}
	for len(s.unread) > 0 {
		name := s.unread[0]
		m, err := readManifest(ctx, tree, x.place(name))
		if err != nil && !errors.Is(err, errNotManifest) {
			return Manifest{}, err
		}
		s.unread = s.unread[1:]
		if err != nil {
			continue
		}
		found := d.Algorithm().FromBytes(m.Data)
		if s.names[found] = name; found == d {
			return m.as(d)
		}
	}
	return Manifest{}, fmt.Errorf("no manifest in %s is %s: %w", ManifestsDir(x.Name), d, fs.ErrNotExist)
}

// scan returns the scan of an algorithm.
func (x *unnamedIndex) scan(ctx context.Context, tree Tree, a digest.Algorithm) (*scan, error) {
	if s, ok := x.scans[a]; ok {
		return s, nil
	}
	entries, err := tree.ReadDir(ctx, x.Root, ManifestsDir(x.Name))
	if err != nil {
		return nil, err
	}
	names := unnamed(entries)
	s := &scan{names[:min(len(names), maxUnnamed)], map[digest.Digest]string{}}
	x.scans[a] = s
	return s, nil
}

func (x *unnamedIndex) place(name string) Place {
	return Place{Root: x.Root, Path: ManifestPath(x.Name, name)}
}

// unnamed returns one name of each manifest that is not named by its digest, sorted.
func unnamed(entries map[string]cid.Cid) (names []string) {
	seen := map[cid.Cid]bool{}
	for name, c := range entries {
		seen[c] = seen[c] || IsDigest(name)
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if c := entries[name]; !seen[c] && name != latestV1 && CheckTag(name) == nil {
			seen[c] = true
			names = append(names, name)
		}
	}
	return names
}
