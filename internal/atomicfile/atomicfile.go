// Package atomicfile writes files that are whole or absent, even after a crash. A file is
// written under a temporary name in its directory, synced and renamed, and then the
// directory is synced.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// A File is a file under its temporary name.
type File struct {
	*os.File
	mode    fs.FileMode
	closed  bool
	renamed bool
}

// Create creates a file with a temporary name that begins with prefix. Its mode does not
// depend on the umask. Close must be called in the end.
func Create(dir, prefix string, mode fs.FileMode) (*File, error) {
	f, err := os.CreateTemp(dir, prefix)
	if err != nil {
		return nil, err
	}
	return &File{File: f, mode: mode}, nil
}

// Finish makes the content durable. Nothing may be written after it.
func (f *File) Finish() error {
	if f.closed {
		return nil
	}
	f.closed = true
	return errors.Join(f.Chmod(f.mode), f.Sync(), f.File.Close())
}

// Rename finishes the file and moves it to path. It replaces a file that is there.
func (f *File) Rename(path string) error {
	if err := f.Finish(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	f.renamed = true
	return SyncDir(filepath.Dir(path))
}

// Close removes the file unless it was renamed.
func (f *File) Close() error {
	var err error
	if !f.closed {
		f.closed = true
		err = f.File.Close()
	}
	if f.renamed {
		return err
	}
	return errors.Join(err, os.Remove(f.Name()))
}

// Write writes data to the file at path. A file that is there has either its old content
// or the new one at any time.
func Write(path string, data []byte, mode fs.FileMode) error {
	f, err := Create(filepath.Dir(path), ".new-", mode)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Rename(path)
}

// SyncDir makes the entries of a directory durable. It does nothing on Windows, and on
// file systems that do not sync directories, such as VirtualBox's shared folders, SMB
// and 9p.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if isUnsupported(err) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	return nil
}

// isUnsupported reports whether an error says that a file system does not sync
// directories.
func isUnsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}
