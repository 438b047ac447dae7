package converter

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// toDirectory leaves images as plain files.
type toDirectory struct {
	dir, tmp  string
	committed bool
}

// ToDirectory returns a destination that writes the tree as plain files into a
// new directory below the system's temporary one, and the directory's path.
// `ipfs add -r` of it gives the root where the profile is unixfs.V0, which cuts
// files as that does.
func ToDirectory() (Destination, string, error) {
	parent, err := os.MkdirTemp("", "converter-")
	if err != nil {
		return nil, "", fmt.Errorf("making a directory: %w", err)
	}
	d := &toDirectory{dir: filepath.Join(parent, "image"), tmp: filepath.Join(parent, "tmp")}
	for _, dir := range []string{d.dir, d.tmp} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, "", fmt.Errorf("making a directory: %w", err)
		}
	}
	return d, d.dir, nil
}

func (d *toDirectory) TempDir() string { return d.tmp }

func (d *toDirectory) Close() error {
	if d.committed {
		return os.RemoveAll(d.tmp)
	}
	return os.RemoveAll(filepath.Dir(d.dir))
}

func (d *toDirectory) Commit(ctx context.Context, t *Tree) error {
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
		if err := f.writeTo(ctx, path); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	d.committed = true
	return nil
}

// writeTo makes a file of its own of f, and syncs it.
func (f File) writeTo(ctx context.Context, path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(file, contextReader{ctx, r}); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}
