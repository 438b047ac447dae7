// Package wholefile writes a file completely or not at all: under a temporary name
// in the same directory, synced, and then renamed.
package wholefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
)

// A File is a file to write.
type File struct{ path, dir string }

// New prepares to write the file at path, which may exist.
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

// regularFile returns the path with its links resolved. A file there must be a regular
// one, since renaming another file to the path would replace, say, a device.
func regularFile(path string) (string, error) {
	target, err := resolve(path)
	if err != nil {
		return "", err
	}
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return target, nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file, so nothing is written there", path)
	}
	return target, nil
}

const maxLinks = 40 // in one path, as on Linux

// resolve follows the links in a path, whose last parts need not exist. It refuses a link
// that belongs to neither root nor this user: in a directory like /tmp, any user can put
// a link where root will write.
func resolve(path string) (string, error) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	root := filepath.VolumeName(whole) + string(filepath.Separator)
	at, rest := root, parts(whole[len(root):])
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return filepath.Join(append([]string{next}, rest...)...), nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if owner, known := atomicfile.OwnerOf(info); known && owner != 0 && owner != os.Geteuid() {
			return "", fmt.Errorf("%s is a link of user %d, and could lead anywhere: remove it, or write to another path", next, owner)
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s leads through more than %d links", path, maxLinks)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			at = root
			target = target[len(filepath.VolumeName(target)):]
		}
		rest = append(parts(target), rest...)
	}
	return at, nil
}

// parts splits a path.
func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
}

// String returns the path of the file.
func (f *File) String() string { return f.path }

// TempDir returns a directory for temporary files, on the same disk as the file.
func (f *File) TempDir() string { return f.dir }

// Close removes temporary files. It must be called in the end.
func (f *File) Close() error { return os.RemoveAll(f.dir) }

// Write calls content to write the file, syncs it and renames it to its path. If that
// fails, nothing new is left there. The error of content is returned as it is.
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
		if err = atomicfile.SyncDir(filepath.Dir(f.path)); err != nil {
			err = errors.Join(err, os.Remove(f.path))
		}
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	return nil
}
