package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// A Tree reads what is below CIDs.
type Tree interface {
	// ReadFile returns the content of the file at the slash-separated path
	// below root, of at most limit bytes. Where there is no such file, the
	// error is fs.ErrNotExist.
	ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error)

	// ReadDir returns the entries of the directory at the slash-separated path
	// below root by name, nil where there is a file. Where there is nothing, the
	// error is fs.ErrNotExist.
	ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error)
}

// FindManifest reads the manifest of a tag or digest from an image's directory:
// as format 1 and ipdr keep it, or image2ipfs, whose only manifest has the one
// name latest-v2. What is found by digest has that digest.
func FindManifest(ctx context.Context, tree Tree, img Image, reference string) (Manifest, error) {
	if IsDigest(reference) {
		return findByDigest(ctx, tree, img, digest.Digest(reference))
	}
	m, err := readManifest(ctx, tree, img, reference)
	if errors.Is(err, fs.ErrNotExist) && reference == Latest {
		only, alias := readManifest(ctx, tree, img, latestV2)
		if alias == nil {
			return only, nil
		}
		return Manifest{}, missing(err, alias)
	}
	return m, err
}

func findByDigest(ctx context.Context, tree Tree, img Image, d digest.Digest) (Manifest, error) {
	m, err := readManifest(ctx, tree, img, d.String())
	if err == nil {
		return m.as(d)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, err
	}
	only, alias := readManifest(ctx, tree, img, latestV2)
	switch {
	case alias == nil && only.is(d):
		return only.as(d)
	case alias == nil || errors.Is(alias, errNotManifest): // it is another one, or none
		return Manifest{}, err
	}
	return Manifest{}, missing(err, alias)
}

// missing is the error for what is under neither of two names, if that is what
// their errors say. It wraps both, since each may know that only in part.
func missing(err, alias error) error {
	if !errors.Is(alias, fs.ErrNotExist) {
		return alias
	}
	return fmt.Errorf("%w; %w", err, alias)
}

func readManifest(ctx context.Context, tree Tree, img Image, reference string) (Manifest, error) {
	path := ManifestPath(img.Name, reference)
	data, err := tree.ReadFile(ctx, img.Root, path, MaxManifest)
	if err != nil {
		return Manifest{}, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ErrDigest says that content does not have the digest that it goes by.
var ErrDigest = errors.New("content does not match its digest")

// as returns the manifest under d, a digest in whatever algorithm it was asked
// for by.
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
