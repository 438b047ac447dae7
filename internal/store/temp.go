package store

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"
)

// Prefixes of the names in tmp. The process that writes a temporary file or directory
// holds a lock on it, which ends with the process: what is not locked was left by a
// killed process.
const (
	importPrefix = "import-" // a directory, with a lock in it
	uploadPrefix = "upload-" // the same, in root/pending
	nodePrefix   = "node-"   // a small file of the cache
	blobPrefix   = "blob-"   // a blob on its way into the cache
)

// lockOf returns the path of the lock of something in tmp.
func lockOf(path string) string {
	for _, prefix := range []string{importPrefix, uploadPrefix} {
		if strings.HasPrefix(filepath.Base(path), prefix) {
			return filepath.Join(path, "lock")
		}
	}
	return path
}

// partialPath returns the path of the blob that is the file c on its way into the cache.
func (sh shelf) partialPath(c cid.Cid) string {
	return filepath.Join(sh.tmp(), blobPrefix+key(c))
}

// A temp is a temporary file or directory, locked.
type temp struct {
	path string
	lock *flock.Flock
}

// newTemp makes and locks a temporary file or directory of the shelf. Until it is
// locked, it looks as if a killed process had left it. If another process removes it
// for that reason, newTemp makes another.
func (sh shelf) newTemp(prefix string) (*temp, error) {
	for {
		path := filepath.Join(sh.tmp(), prefix+strconv.FormatUint(rand.Uint64(), 36))
		if lockOf(path) != path {
			if err := os.Mkdir(path, 0o700); err != nil {
				return nil, err
			}
		}
		lock, err := try(lockOf(path), exclusive)
		if lock != nil {
			return &temp{path, lock}, nil
		}
		if err != nil && (lockOf(path) == path || !errors.Is(err, fs.ErrNotExist)) {
			os.Remove(path)
			return nil, err
		}
	}
}

// leftovers calls visit for the files and directories with some prefixes that killed
// processes left in tmp. visit may remove them.
func (sh shelf) leftovers(visit func(*temp) error, prefixes ...string) error {
	entries, err := sh.readDir(sh.tmp())
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, prefix := range prefixes {
			if !strings.HasPrefix(e.Name(), prefix) || e.IsDir() != (prefix == importPrefix) {
				continue
			}
			path := filepath.Join(sh.tmp(), e.Name())
			lock, err := try(lockOf(path), exclusive)
			if err != nil || lock == nil {
				continue // it is in use, gone, or another user's
			}
			err = visit(&temp{path, lock})
			release(lock)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// removeUnlocked reports whether it removed a temporary file, which no process had
// locked.
func removeUnlocked(path string) bool {
	lock, err := try(path, exclusive)
	if err != nil || lock == nil {
		return false
	}
	return (&temp{path, lock}).remove() == nil
}

// remove removes the file or directory. The lock is held until its file is removed
// last, so that no other process takes it meanwhile.
func (t *temp) remove() error {
	lock := lockOf(t.path)
	var err error
	if lock != t.path {
		err = removeAllBut(t.path, lock)
	}
	held := os.Remove(lock)
	release(t.lock)
	if held != nil { // Windows does not remove open files
		os.Remove(lock)
	}
	if lock != t.path {
		os.Remove(t.path) // fails if another process is removing it
	}
	return err
}

func removeAllBut(dir, stays string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); path != stays {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}
