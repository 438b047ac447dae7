package converter

import (
	"context"
	"fmt"
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
	for path, f := range t.Files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path = filepath.Join(d.dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := f.writeTo(path); err != nil {
			return err
		}
	}
	d.committed = true
	return nil
}

func (f File) writeTo(path string) error {
	if f.Blob == nil {
		return os.WriteFile(path, f.data, 0o644)
	}
	return os.Link(f.Blob.Path, path)
}
