package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
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
	l.fetch = dir.fetch
	data, err := dir.index()
	if err != nil {
		return nil, err
	}
	return l, l.parseDocuments(data, nil)
}

// index reads index.json.
func (dir layoutDir) index() ([]byte, error) {
	f, err := dir.open(ocilayout.Index)
	if errors.Is(err, fs.ErrNotExist) && IsSkopeoDir(string(dir)) {
		return nil, &SkopeoDirError{string(dir)}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no OCI layout: it has no %s", string(dir), ocilayout.Index)
	}
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

// fetch opens a blob.
func (dir layoutDir) fetch(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	name := ocilayout.BlobPath(d.Digest)
	f, err := dir.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &manifest.MissingError{What: name, Where: string(dir)}
	}
	return f, err
}

// open opens a regular file of the layout. A link is followed if it stays in the
// directory. The author of a layout could otherwise have any file of the user put into
// an image, and published.
func (dir layoutDir) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(string(dir))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	path := filepath.Join(string(dir), filepath.FromSlash(name))
	info, err := root.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && isLink(root, name) {
		return nil, fmt.Errorf("%s is a link that leads out of the layout: copy the layout with what its links lead to, as `cp -rL` does", path)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would never end
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return root.Open(name)
}

// isLink reports whether a path is a link, or is below one.
func isLink(root *os.Root, name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if info, err := root.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

// IsSkopeoDir reports whether a directory is one of those that `skopeo copy` writes to
// dir:.
func IsSkopeoDir(dir string) bool {
	_, manifestErr := os.Lstat(filepath.Join(dir, ocilayout.DockerList))
	_, versionErr := os.Lstat(filepath.Join(dir, "version"))
	return manifestErr == nil && versionErr == nil
}
