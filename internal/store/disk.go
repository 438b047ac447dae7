package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A shelf is a directory of blobs, of nodes, and of records that say which blob a
// file is.
type shelf struct{ dir string }

// within calls use with the shelf's directory and the name of path in it. Every file
// of a shelf is reached this way, so that no link out of the directory is followed:
// another user may own a part of the store, or all of it.
func (sh shelf) within(path string, use func(dir *os.Root, name string) error) error {
	name, err := filepath.Rel(sh.dir, path)
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(sh.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = use(dir, name)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		e.Path = path
		if strings.Contains(e.Err.Error(), "escapes") {
			return fmt.Errorf("%w (a link leads out of %s; mount the other directory there instead)", err, sh.dir)
		}
	}
	return err
}

// open opens a file for reading. It does not block on a named pipe.
func (sh shelf) open(path string) (f *os.File, err error) {
	if name, ok := strings.CutPrefix(path, sh.dir+string(filepath.Separator)); ok {
		if f, err = openBeneath(sh.dir, name); !errors.Is(err, errors.ErrUnsupported) {
			return f, err
		}
	}
	err = sh.within(path, func(dir *os.Root, name string) error {
		f, err = dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	return f, err
}

// openSized opens a file that should have size bytes.
func (sh shelf) openSized(path string, size int64) (*os.File, error) {
	f, err := sh.open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != size) {
		err = fmt.Errorf("%s has %d bytes and should have %d: %w", path, info.Size(), size, ErrDamaged)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readFile reads a file of at most limit bytes.
func (sh shelf) readFile(path string, limit int64) ([]byte, error) {
	f, err := sh.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is %w: a file of the store has at most %d bytes, and this has %d", path, ErrDamaged, limit, info.Size())
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(f, b)
	return b, err
}

func (sh shelf) lstat(path string) (info fs.FileInfo, err error) {
	err = sh.within(path, func(dir *os.Root, name string) error {
		info, err = dir.Lstat(name)
		return err
	})
	return info, err
}

func (sh shelf) exists(path string) bool {
	_, err := sh.lstat(path)
	return err == nil
}

func (sh shelf) remove(path string) error {
	return sh.within(path, (*os.Root).Remove)
}

func (sh shelf) rename(from, to string) error {
	to, err := filepath.Rel(sh.dir, to)
	if err != nil {
		return err
	}
	return explained(sh.within(from, func(dir *os.Root, name string) error { return dir.Rename(name, to) }))
}

// place moves a temporary file to its final name. The file becomes as readable as its
// new directory, and is synced if it should be durable.
func (sh shelf) place(from, final string, durable bool) error {
	mode, err := modeOf(filepath.Dir(final))
	if err != nil {
		return err
	}
	err = sh.within(from, func(dir *os.Root, name string) error {
		if err := dir.Chmod(name, mode&0o444|0o600); err != nil || !durable {
			return err
		}
		f, err := dir.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	if err != nil {
		return err
	}
	return sh.rename(from, final)
}

// explained adds advice to an error that is due to the way the store is mounted.
func explained(err error) error {
	if errors.Is(err, errOtherDisk) {
		return fmt.Errorf("%w (a store must be on one file system: mount the store as a whole, not a folder of it)", err)
	}
	return err
}

// mkdirAll makes a directory of the shelf.
func (sh shelf) mkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := sh.mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	_, err := sh.mkdir(dir)
	return err
}

// mkdir makes a directory if it does not exist, with the permissions of its parent
// directory, whatever the umask is: the user who serves images is seldom the one who
// converts them, and a private store stays private.
func (sh shelf) mkdir(dir string) (made bool, err error) {
	mode, err := modeOf(filepath.Dir(dir))
	if err != nil {
		return false, err
	}
	if len(dir) <= len(sh.dir) {
		return mkdirIn(dir, mode, os.Mkdir, os.Chmod, os.Stat)
	}
	err = sh.within(dir, func(root *os.Root, name string) error {
		made, err = mkdirIn(name, mode, root.Mkdir, root.Chmod, root.Stat)
		return err
	})
	return made, err
}

func mkdirIn(name string, mode fs.FileMode, mkdir, chmod func(string, fs.FileMode) error, stat func(string) (fs.FileInfo, error)) (bool, error) {
	err := mkdir(name, mode)
	if err == nil {
		return true, chmod(name, mode)
	}
	if info, other := stat(name); other == nil && info.IsDir() {
		return false, nil
	}
	return false, err
}

// modeOf returns the permissions for new directories in a directory. Only the owner
// may write.
func modeOf(dir string) (fs.FileMode, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	return info.Mode()&(fs.ModeSetgid|0o755) | 0o700, nil
}

// readDir lists a directory. A missing one is empty.
func (sh shelf) readDir(path string) (entries []fs.DirEntry, err error) {
	d, err := sh.open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// sameContent reports whether the files at final and path have the same bytes. It
// reports false if final is a link, or if the disk cannot read it.
func (sh shelf) sameContent(path, final string) (bool, error) {
	ours, err := sh.open(path)
	if err != nil {
		return false, err
	}
	defer ours.Close()
	info, err := ours.Stat()
	if err != nil {
		return false, err
	}
	there, err := sh.lstat(final)
	if err != nil || !there.Mode().IsRegular() || there.Size() != info.Size() {
		return false, nil
	}
	theirs, err := sh.open(final)
	if err != nil {
		return false, nil
	}
	defer theirs.Close()
	return sameBytes(ours, theirs)
}

// sameBytes reports whether theirs begins with all of ours.
func sameBytes(ours, theirs io.Reader) (bool, error) {
	const chunk = 256 << 10
	want, got := make([]byte, chunk), make([]byte, chunk)
	for {
		n, err := io.ReadFull(ours, want)
		if _, unreadable := io.ReadFull(theirs, got[:n]); unreadable != nil || !bytes.Equal(got[:n], want[:n]) {
			return false, nil
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return true, nil
		default:
			return false, err
		}
	}
}

func (sh shelf) setTime(path string, t time.Time) error {
	return sh.within(path, func(dir *os.Root, name string) error { return dir.Chtimes(name, t, t) })
}

// overwrite writes data to a file that exists.
func (sh shelf) overwrite(path string, data []byte) error {
	return sh.within(path, func(dir *os.Root, name string) error {
		f, err := dir.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	})
}

// create makes a file with some content, which is not synced.
func (sh shelf) create(path string, data []byte) error {
	return sh.within(path, func(dir *os.Root, name string) error {
		f, err := dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	})
}

func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
