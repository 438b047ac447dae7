package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A mode is how a lock is held: together with others, or alone.
type mode func(*flock.Flock) (bool, error)

var (
	shared    mode = (*flock.Flock).TryRLock
	exclusive mode = (*flock.Flock).TryLock
)

// lock keeps apart those who add to the store, and hold the lock shared, and those
// who remove from it, and hold it alone.
//
// A process that removes would wait for as long as others keep adding. So all pass a
// gate on the way in, and the one that removes keeps it shut until all who are inside
// have left.
func (s *Store) lock(ctx context.Context, m mode) (*flock.Flock, error) {
	gate, err := acquire(ctx, filepath.Join(s.dir, "gate"), m)
	if err != nil {
		return nil, err
	}
	defer release(gate)
	return acquire(ctx, filepath.Join(s.dir, "lock"), m)
}

// The system's own way of waiting for a lock cannot be given up.
const askAgain = 5 * time.Millisecond

func acquire(ctx context.Context, path string, m mode) (*flock.Flock, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		l, err := try(path, m)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(askAgain):
		}
	}
}

// try takes the lock of the file at path, which it makes if need be. It returns nil
// if another process holds the lock, or removed the file just now.
func try(path string, m mode) (*flock.Flock, error) {
	l := flock.New(path, flock.SetPermissions(0o644), flock.SetFlag(os.O_CREATE|os.O_RDONLY|noFollow))
	ok, err := m(l)
	for _, unsupported := range errNoLocks {
		if errors.Is(err, unsupported) {
			return nil, fmt.Errorf("locking %s: %w (this file system has no locks, which a store needs: keep the store on a local disk, or mount this one with locks)", path, err)
		}
	}
	if err != nil || !ok {
		return nil, err
	}
	held, err := l.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Stat(path); err == nil && os.SameFile(held, there) {
			return l, nil
		}
	}
	release(l)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return nil, err
}

// release lets a lock go. If that fails, the lock's file is closed already, and the
// lock is gone with it.
func release(l *flock.Flock) { _ = l.Unlock() }

// Temporary files and directories in tmp are locked by the process that writes
// them. Locks end with their process, so what a killed process left can be told
// from what is in use.
const (
	importPrefix = "import-" // a directory, with a lock in it
	nodePrefix   = "node-"   // a small file of the cache
	blobPrefix   = "blob-"   // a blob on its way into the cache
)

// lockOf returns the path of the lock of something in tmp.
func lockOf(path string) string {
	if strings.HasPrefix(filepath.Base(path), importPrefix) {
		return filepath.Join(path, "lock")
	}
	return path
}

// A temp is a temporary file or directory, locked.
type temp struct {
	path string
	lock *flock.Flock
}

// newTemp makes a temporary file or directory of the shelf. Before its lock is held
// it looks like what a killed process left. If another process clears it away by
// then, newTemp makes another.
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

// leftovers hands what killed processes left in tmp under some prefixes to visit,
// which may remove it.
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
				continue // in use, gone, or another user's
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

// remove removes the file or directory. Its lock goes last, and is held until then,
// since another process could take the lock in its place.
func (t *temp) remove() error {
	lock := lockOf(t.path)
	var err error
	if lock != t.path {
		err = removeAllBut(t.path, lock)
	}
	held := os.Remove(lock)
	release(t.lock)
	if held != nil { // Windows does not remove a file that is open
		os.Remove(lock)
	}
	if lock != t.path {
		os.Remove(t.path) // which fails where another process is about to do it
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
