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

// A nativeDir is an image in format 1, which ipdr writes since 0.1.7 as well.
type nativeDir struct{ Image }

// detectDirectory returns the form of a directory with manifests. It is image2ipfs' if the
// only manifest has that program's name for it.
func detectDirectory(ctx context.Context, tree Tree, img Image) (shape, error) {
	entries, err := tree.ReadDir(ctx, img.Root, ManifestsDir(img.Name))
	if err != nil {
		return nil, err
	}
	if _, old := entries[latestV2]; !old {
		return nativeDir{img}, nil
	}
	for name := range entries {
		if name != latestV1 && name != latestV2 {
			return nativeDir{img}, nil
		}
	}
	return detectImage2ipfs(ctx, tree, img)
}

// Manifest implements shape.
func (f nativeDir) Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error) {
	m, err := FindManifest(ctx, tree, f.Image, reference)
	if isAbsent(err) && IsDigest(reference) {
		return f.unnamed(ctx, tree, digest.Digest(reference))
	}
	return m, err
}

// maxUnnamed is how many manifests are read at most to find one by its digest.
const maxUnnamed = 16

// unnamed looks for a digest among the manifests that are not named by their digest. The
// converter and ipdr leave no such manifests.
func (f nativeDir) unnamed(ctx context.Context, tree Tree, d digest.Digest) (Manifest, error) {
	dir := ManifestsDir(f.Name)
	entries, err := tree.ReadDir(ctx, f.Root, dir)
	if err != nil {
		return Manifest{}, err
	}
	for i, name := range unnamed(entries) {
		if i == maxUnnamed {
			break
		}
		m, err := readManifest(ctx, tree, Place{Root: f.Root, Path: ManifestPath(f.Name, name)})
		if err == nil && m.is(d) {
			return m.as(d)
		}
		if err != nil && !errors.Is(err, errNotManifest) {
			return Manifest{}, err
		}
	}
	return Manifest{}, fmt.Errorf("no manifest in %s is %s: %w", dir, d, fs.ErrNotExist)
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

// Blob implements shape.
func (f nativeDir) Blob(_ context.Context, _ Tree, d digest.Digest) (Place, error) {
	return Place{Root: f.Root, Path: BlobPath(f.Name, d)}, nil
}

// Tags implements shape.
func (f nativeDir) Tags(ctx context.Context, tree Tree) ([]string, error) {
	entries, err := tree.ReadDir(ctx, f.Root, ManifestsDir(f.Name))
	if err != nil {
		return nil, err
	}
	return Tags(entries), nil
}
