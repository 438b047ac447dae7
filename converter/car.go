package converter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// toCAR writes images to a CAR file.
type toCAR struct {
	path string
	tmp  string
}

// ToCAR returns a destination that writes the CARv1 file at path, replacing one
// that is there.
func ToCAR(path string) (Destination, error) {
	path, err := regularFile(path)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".converter-")
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", path, err)
	}
	return &toCAR{path, tmp}, nil
}

// regularFile returns where a path leads, which must be a file or nothing: what
// is renamed to it would take a device's or a directory's place.
func regularFile(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(target)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file, so nothing is written there", path)
	}
	return target, nil
}

func (d *toCAR) TempDir() string { return d.tmp }
func (d *toCAR) Close() error    { return os.RemoveAll(d.tmp) }

func (d *toCAR) Commit(ctx context.Context, t *Tree) error {
	tmp := filepath.Join(d.tmp, "car")
	err := writeCARFile(ctx, tmp, t)
	if err == nil {
		err = os.Rename(tmp, d.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(d.path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", d.path, err)
	}
	return nil
}

func writeCARFile(ctx context.Context, path string, t *Tree) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	car, err := unixfs.NewCARWriter(w, t.Root.CID)
	if err != nil {
		return err
	}
	if err := t.WriteBlocks(ctx, car.Put); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// WriteBlocks hands every block of the tree to put, in an order that depends on
// the tree alone: directories from the root down, small files, then each blob's
// nodes and leaves. put must not keep a block's data.
func (t *Tree) WriteBlocks(ctx context.Context, put func(unixfs.Block) error) error {
	for i := len(t.Directories) - 1; i >= 0; i-- {
		if err := put(t.Directories[i]); err != nil {
			return err
		}
	}
	for _, b := range t.SmallFiles() {
		if err := put(b); err != nil {
			return err
		}
	}
	for _, b := range t.Blobs() {
		if err := b.writeBlocks(ctx, put); err != nil {
			return err
		}
	}
	return nil
}

func (b *Blob) writeBlocks(ctx context.Context, put func(unixfs.Block) error) error {
	for i := len(b.File.Nodes) - 1; i >= 0; i-- {
		if err := put(b.File.Nodes[i]); err != nil {
			return err
		}
	}
	f, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, unixfs.MaxLeaf)
	for i := range b.File.Table.Leaves {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		data := buf[:b.File.Table.Len(i)]
		if _, err := io.ReadFull(f, data); err != nil {
			return fmt.Errorf("reading blob %s: %w", b.Digest, err)
		}
		if err := put(b.File.Table.Block(i, data)); err != nil {
			return err
		}
	}
	return nil
}
