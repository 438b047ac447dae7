package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// FromLayout returns the source of the images in the directory of an OCI layout. It
// reads a blob only when the conversion needs it.
func FromLayout(dir string) Source { return layoutDir(dir) }

type layoutDir string

// Image implements Source.
func (dir layoutDir) Image() string { return "" }

// Open implements Source.
func (dir layoutDir) Open(ws *blob.Workspace) (*Layout, error) {
	l := newLayout(ws, string(dir))
	l.fetch, l.hideDigests = dir.fetch, true
	data, err := dir.index()
	if err != nil {
		return nil, err
	}
	return l, l.parseDocuments(data, nil)
}

// index reads index.json. A link that leads out of the directory is not followed.
func (dir layoutDir) index() ([]byte, error) {
	root, err := os.OpenRoot(string(dir))
	if err != nil {
		return nil, fmt.Errorf("opening the layout: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(ocilayout.Index)
	if errors.Is(err, fs.ErrNotExist) && IsSkopeoDir(string(dir)) {
		return nil, &SkopeoDirError{string(dir)}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no OCI layout: it has no %s", string(dir), ocilayout.Index)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the layout: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s in %s is not a regular file", ocilayout.Index, string(dir))
	}
	f, err := root.Open(ocilayout.Index)
	if err != nil {
		return nil, fmt.Errorf("opening the layout: %w", err)
	}
	defer f.Close()
	data, err := manifest.ReadDocument(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s in %s: %w", ocilayout.Index, string(dir), err)
	}
	return data, nil
}

// IsSkopeoDir reports whether a directory is one of those that `skopeo copy` writes to
// dir:.
func IsSkopeoDir(dir string) bool {
	_, manifestErr := os.Lstat(filepath.Join(dir, ocilayout.DockerList))
	_, versionErr := os.Lstat(filepath.Join(dir, "version"))
	return manifestErr == nil && versionErr == nil
}

// fetch opens a blob. Bazel's rules_oci makes layouts whose blobs are links to
// elsewhere, so links are followed. That gives away nothing: the content counts only
// if it has the digest of the descriptor, and no error tells the digest that it has.
func (dir layoutDir) fetch(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	name := ocilayout.BlobPath(d.Digest)
	path := filepath.Join(string(dir), filepath.FromSlash(name))
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &manifest.MissingError{What: name, Where: string(dir)}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe would never end
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}
