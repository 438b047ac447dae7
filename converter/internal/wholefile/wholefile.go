// Package wholefile writes files that are there whole or not at all, whatever
// happens meanwhile: under another name beside their own, synced, and renamed.
package wholefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
)

// A File is a file that is to be written.
type File struct{ path, dir string }

// New prepares to write the file at path, which may be there.
func New(path string) (*File, error) {
	path, err := regularFile(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".converter-")
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", path, err)
	}
	return &File{path, dir}, nil
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

// String returns where the file is to be.
func (f *File) String() string { return f.path }

// TempDir is a directory beside the file, for what leads to it.
func (f *File) TempDir() string { return f.dir }

// Close removes what is temporary. It must be called in the end.
func (f *File) Close() error { return os.RemoveAll(f.dir) }

// Write has the file written, and puts it in its place, synced. What content
// returns as an error is returned as it is.
func (f *File) Write(content func(io.Writer) error) error {
	tmp, err := os.Create(filepath.Join(f.dir, "whole"))
	if err != nil {
		return fmt.Errorf("preparing %s: %w", f.path, err)
	}
	if err := content(tmp); err != nil {
		return errors.Join(err, tmp.Close())
	}
	err = errors.Join(tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(f.path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	return nil
}
