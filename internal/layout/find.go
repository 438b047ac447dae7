package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// A Tree reads what is below CIDs.
type Tree interface {
	// ReadFile returns the content of the file at the slash-separated path below root,
	// of at most limit bytes. If there is no such file, the error is fs.ErrNotExist; if
	// it is larger, unixfs.ErrTooLarge.
	ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error)

	// ReadDir returns the entries of the directory at the slash-separated path below
	// root by name, and nil for a file. If there is nothing, the error is
	// fs.ErrNotExist.
	ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error)
}

// ErrLacking says that a tree that has only parts of an image lacks one, which the image
// may have all the same. It wraps fs.ErrNotExist.
var ErrLacking = fmt.Errorf("a part of the image is not here: %w", fs.ErrNotExist)

// isAbsent reports whether an error proves that the image does not have something.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrLacking)
}

// ReadManifest reads the manifest of a tag or digest from its place in format 1, which ipdr
// uses as well. For most images that is enough. If the manifest is not there, the error is
// fs.ErrNotExist, and Detect finds out where to look next.
func ReadManifest(ctx context.Context, tree Tree, img Image, reference string) (Manifest, error) {
	if reference == latestV1 || reference == latestV2 {
		return Manifest{}, fmt.Errorf("%s is not a tag: %w", reference, fs.ErrNotExist)
	}
	m, err := readManifest(ctx, tree, Place{Root: img.Root, Path: ManifestPath(img.Name, reference)})
	if err == nil && IsDigest(reference) {
		return m.as(digest.Digest(reference))
	}
	return m, err
}

// FindManifest reads the manifest of a tag or digest from an image's directory: from its
// place in format 1, or as image2ipfs keeps its only manifest, under the name latest-v2. A
// manifest that is found by digest has that digest. It also finds manifests that image2ipfs
// wrote wrong.
func FindManifest(ctx context.Context, tree Tree, img Image, reference string) (Manifest, error) {
	m, err := ReadManifest(ctx, tree, img, reference)
	if !isAbsent(err) {
		return m, err
	}
	if reference != Latest && reference != latestV2 && !IsDigest(reference) {
		return Manifest{}, err
	}
	only, alias := readManifest(ctx, tree, Place{Root: img.Root, Path: ManifestPath(img.Name, latestV2)})
	d := digest.Digest(reference)
	switch {
	case alias != nil && errors.Is(alias, errNotManifest) && IsDigest(reference):
		return Manifest{}, err // another file than the manifest that is wanted
	case alias != nil:
		return Manifest{}, missing(err, alias)
	case !IsDigest(reference):
		return only, nil
	case only.is(d):
		return only.as(d)
	}
	return Manifest{}, err
}

// missing combines the errors of two names that both do not exist. Either may be
// ErrLacking. Any other error of the second name is returned alone.
func missing(err, alias error) error {
	if !errors.Is(alias, fs.ErrNotExist) {
		return alias
	}
	return fmt.Errorf("%w; %w", err, alias)
}

func readManifest(ctx context.Context, tree Tree, at Place) (Manifest, error) {
	data, err := tree.ReadFile(ctx, at.Root, at.Path, MaxManifest)
	if err != nil {
		return Manifest{}, err
	}
	done, err := budget.Turn(ctx, len(data))
	if err != nil {
		return Manifest{}, err
	}
	m, err := ParseManifest(data)
	done()
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", at, err)
	}
	m.At = at
	return m, nil
}

// readAs is readManifest for a manifest whose digest is known.
func readAs(ctx context.Context, tree Tree, at Place, d digest.Digest) (Manifest, error) {
	m, err := readManifest(ctx, tree, at)
	if err != nil {
		return Manifest{}, err
	}
	return m.as(d)
}

// ErrDigest says that content does not have the digest that it is published under.
var ErrDigest = errors.New("content does not match its digest")

// as returns the manifest with the digest d, in the algorithm that was asked for.
func (m Manifest) as(d digest.Digest) (Manifest, error) {
	if !m.is(d) {
		return Manifest{}, fmt.Errorf("manifest %s: %w", d, ErrDigest)
	}
	m.Digest = d
	return m, nil
}

func (m Manifest) is(d digest.Digest) bool {
	return d.Validate() == nil && d.Algorithm().FromBytes(m.Data) == d
}

func hasEntry(entries map[string]cid.Cid, name string) bool {
	_, ok := entries[name]
	return ok
}
