package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// A mode is how a lock is held: together with others, or by nobody else.
type mode func(*flock.Flock) (bool, error)

var (
	shared    mode = (*flock.Flock).TryRLock
	exclusive mode = (*flock.Flock).TryLock
)

// lock keeps those apart who add to the store, and hold it shared, and who
// remove from it.
//
// Whoever removes would wait for as long as there is always somebody adding. So
// everybody passes a gate on the way in, and who removes keeps it shut until all
// who are inside have left.
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

// try takes the lock of the file at path, which it makes if need be. It returns
// nil where somebody else has it, or removed the file just now.
func try(path string, m mode) (*flock.Flock, error) {
	l := flock.New(path, flock.SetPermissions(0o644))
	ok, err := m(l)
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

// release lets a lock go. Where that fails, its file is closed already, and with
// the file the lock.
func release(l *flock.Flock) { _ = l.Unlock() }
