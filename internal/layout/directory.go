package layout

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// A nativeDir is an image in format 1, which ipdr writes since 0.1.7 as well.
type nativeDir struct {
	Image
	unnamed *unnamedIndex

	// literal says that every name is what it seems: none is an alias, and every manifest is
	// named by its digest.
	literal bool
}

func newNativeDir(img Image) nativeDir {
	return nativeDir{Image: img, unnamed: newUnnamedIndex(img)}
}

// detectDirectory returns the form of a directory with manifests. It is image2ipfs' if the
// only manifest has that program's name for it.
func detectDirectory(ctx context.Context, tree Tree, img Image) (shape, error) {
	entries, err := tree.ReadDir(ctx, img.Root, ManifestsDir(img.Name))
	if err != nil {
		return nil, err
	}
	if _, old := entries[latestV2]; !old {
		return newNativeDir(img), nil
	}
	for name := range entries {
		if name != latestV1 && name != latestV2 {
			return newNativeDir(img), nil
		}
	}
	return detectImage2ipfs(ctx, tree, img)
}

// Manifest implements shape.
func (f nativeDir) Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error) {
	if f.literal {
		return f.named(ctx, tree, reference)
	}
	m, err := FindManifest(ctx, tree, f.Image, reference)
	if isAbsent(err) && IsDigest(reference) {
		return f.unnamed.manifest(ctx, tree, digest.Digest(reference))
	}
	return m, err
}

// named reads the manifest of exactly this name.
func (f nativeDir) named(ctx context.Context, tree Tree, reference string) (Manifest, error) {
	at := Place{Root: f.Root, Path: ManifestPath(f.Name, reference)}
	if IsDigest(reference) {
		return readAs(ctx, tree, at, digest.Digest(reference))
	}
	return readManifest(ctx, tree, at)
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
	if f.literal {
		return literalTags(entries), nil
	}
	return Tags(entries), nil
}
