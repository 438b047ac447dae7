package converter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
)

// FromLayout returns the source of the images in an OCI layout's directory. With
// a name, it is of the one image that the layout calls so. What these images do
// not lead to is not read.
func FromLayout(dir, name string) Source { return fromLayout{dir, name} }

type fromLayout struct{ dir, name string }

func (s fromLayout) read(a *archive) error {
	a.where = s.dir
	a.want.name = s.name
	a.fetch = s.open
	f, err := openRegular(filepath.Join(s.dir, ocilayout.Index))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is no OCI layout: it has no %s", s.dir, ocilayout.Index)
	}
	if err != nil {
		return fmt.Errorf("opening the layout: %w", err)
	}
	defer f.Close()
	if a.documents[ocilayout.Index], err = manifest.ReadDocument(f); err != nil {
		return fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	return nil
}

func (s fromLayout) open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	path := ocilayout.BlobPath(d.Digest)
	f, err := openRegular(filepath.Join(s.dir, filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s %w %s", path, ocilayout.ErrMissing, s.dir)
	}
	return f, err
}

// openRegular opens a file, and nothing that would never end.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return os.Open(path)
}
