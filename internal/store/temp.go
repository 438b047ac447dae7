package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// A temp is the temporary directory of one import. The lock in it is held for as
// long as the import lives; locks go with their process, so what a killed import
// left can be told from what is in use.
type temp struct {
	dir  string
	lock *flock.Flock
}

const (
	tempPrefix = "import-"
	tempLock   = "lock"
)

// makeTemp makes a directory in tmp. Before its lock is held it looks like one
// that was left; whoever then clears it up has that lock or removes the
// directory, and in both cases it is given up for another.
func (s *Store) makeTemp() (*temp, error) {
	for {
		dir, err := os.MkdirTemp(s.tmp(), tempPrefix)
		if err != nil {
			return nil, err
		}
		lock, err := try(filepath.Join(dir, tempLock), exclusive)
		if lock != nil {
			return &temp{dir, lock}, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			os.Remove(dir)
			return nil, err
		}
	}
}

// remove removes the directory. The lock goes last, and is held until it is
// gone, since another could be taken in its place.
func (t *temp) remove() error {
	entries, err := readDir(t.dir)
	for _, e := range entries {
		if e.Name() != tempLock {
			err = errors.Join(err, os.RemoveAll(filepath.Join(t.dir, e.Name())))
		}
	}
	lock := filepath.Join(t.dir, tempLock)
	held := os.Remove(lock)
	release(t.lock)
	if held != nil { // Windows does not remove what is open
		os.Remove(lock)
	}
	os.Remove(t.dir) // which fails where somebody is about to do it
	return err
}

// leftovers hands what killed imports left in tmp to visit, which may remove it.
func (s *Store) leftovers(visit func(*temp) error) error {
	entries, err := readDir(s.tmp())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		dir := filepath.Join(s.tmp(), e.Name())
		lock, err := try(filepath.Join(dir, tempLock), exclusive)
		if err != nil || lock == nil {
			continue // in use, gone, or another user's
		}
		err = visit(&temp{dir, lock})
		release(lock)
		if err != nil {
			return err
		}
	}
	return nil
}
