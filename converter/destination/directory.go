package destination

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
)

// A Directory writes images as plain files to a new directory.
type Directory struct {
	dir, tmp  string
	committed bool
}

// ToDirectory returns a destination that writes the tree as plain files to a new
// temporary directory. With the profile unixfs.V0, which cuts files as Kubo does,
// `ipfs add -r` of the directory gives the root.
func ToDirectory() (*Directory, error) {
	parent, err := makeTempDir()
	if err != nil {
		return nil, err
	}
	d := &Directory{dir: filepath.Join(parent, "image"), tmp: filepath.Join(parent, "tmp")}
	for _, dir := range []string{d.dir, d.tmp} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, fmt.Errorf("creating a directory: %w", err)
		}
	}
	return d, nil
}

// Path returns the directory with the files.
func (d *Directory) Path() string { return d.dir }

// TempDir is part of converter.Destination.
func (d *Directory) TempDir() string { return d.tmp }

// Close is part of converter.Destination.
func (d *Directory) Close() error {
	if d.committed {
		return os.RemoveAll(d.tmp)
	}
	return os.RemoveAll(filepath.Dir(d.dir))
}

// Commit is part of converter.Destination.
func (d *Directory) Commit(ctx context.Context, t *tree.Tree) error {
	dirs := map[string]struct{}{d.dir: {}, filepath.Dir(d.dir): {}}
	for path, f := range t.Files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path = filepath.Join(d.dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		for dir := filepath.Dir(path); dir != d.dir; dir = filepath.Dir(dir) {
			dirs[dir] = struct{}{}
		}
		if err := writeFile(ctx, path, f); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	for dir := range dirs {
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
	}
	d.committed = true
	return nil
}

// writeFile writes f to a new file, and syncs it.
func writeFile(ctx context.Context, path string, f tree.File) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := f.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(file, ctxio.Reader(ctx, r)); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}
