package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// A lockMode says whether other processes may hold the lock at the same time.
type lockMode func(*flock.Flock) (bool, error)

var (
	shared    lockMode = (*flock.Flock).TryRLock
	exclusive lockMode = (*flock.Flock).TryLock
)

// askAgain is how often a lock is tried. The system's own way of waiting for a lock
// ignores contexts.
const askAgain = 5 * time.Millisecond

func acquire(ctx context.Context, path string, m lockMode) (*flock.Flock, error) {
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

// try locks the file at path, and makes it if necessary. It returns nil if another
// process holds the lock, or has just removed the file.
func try(path string, m lockMode) (*flock.Flock, error) {
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

// release releases a lock. An error means that the file of the lock is closed already,
// and that the lock is gone with it.
func release(l *flock.Flock) { _ = l.Unlock() }
