package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Partial is the file of a blob that is on its way into the cache. It is for
// whoever began it alone, and ends with it: its lock goes with the process, and
// what has none in tmp is rubbish.
type Partial struct {
	cache *Cache
	file  *os.File
	lock  *flock.Flock
	path  string // where it is now
	size  int64
	taken atomic.Int64 // bytes of the cache's room
	done  bool
}

// Begin starts the blob that is the given file, of so many bytes. Close must be
// called in the end.
func (c *Cache) Begin(id cid.Cid, size int64) (*Partial, error) {
	if !c.IsOn() {
		return nil, ErrOff
	}
	if !c.canHold(size) {
		return nil, ErrTooLarge
	}
	p := &Partial{cache: c, size: size, path: filepath.Join(c.store.cached.tmp(), blobPrefix+key(id))}
	err := p.open()
	if err == nil {
		return p, nil
	}
	if !errors.Is(err, ErrBusy) {
		c.failed(fmt.Errorf("caching %s: %w", id, err))
	}
	return nil, err
}

func (p *Partial) open() (err error) {
	if err := mkdirAll(filepath.Dir(p.path)); err != nil {
		return err
	}
	if p.lock, err = takeNew(p.path); err != nil {
		return err
	}
	if p.lock == nil {
		return ErrBusy
	}
	if p.file, err = os.OpenFile(p.path, os.O_RDWR, 0); err == nil {
		err = p.file.Chmod(0o644)
	}
	if err != nil {
		os.Remove(p.path)
		release(p.lock)
		p.file.Close()
	}
	return err
}

// Follow opens the file of a blob that another process has under way. It is read
// only, and what is in it is to be verified.
func (c *Cache) Follow(id cid.Cid) (*os.File, error) {
	return os.Open(filepath.Join(c.store.cached.tmp(), blobPrefix+key(id)))
}

// takeNew locks a new file, or returns nil where another process has one at the
// path. What a killed process left is not written to: others may read it.
func takeNew(path string) (*flock.Flock, error) {
	for {
		lock, err := try(path, exclusive)
		if lock == nil {
			return nil, err
		}
		info, err := lock.Stat()
		if err == nil && info.Size() == 0 {
			return lock, nil
		}
		err = errors.Join(err, os.Remove(path))
		release(lock)
		if err != nil {
			return nil, err
		}
	}
}

// Path is where the file is: in tmp, or from Commit on in its place.
func (p *Partial) Path() string { return p.path }

// WriteAt writes bytes of the blob, which are verified. Where there is no room for
// them, beside other blobs under way, the error is ErrTooLarge. Where it fails, the
// cache goes off.
func (p *Partial) WriteAt(b []byte, offset int64) (int, error) {
	if err := p.Grow(int64(len(b))); err != nil {
		return 0, err
	}
	n, err := p.file.WriteAt(b, offset)
	if err != nil {
		p.cache.failed(err)
	}
	return n, err
}

// Grow is for who writes so many bytes to the file at Path in another way.
func (p *Partial) Grow(n int64) error {
	if p.taken.Load() >= p.size {
		return nil // what is written again takes no room
	}
	if !p.cache.take(n) {
		return ErrTooLarge
	}
	p.taken.Add(n)
	return nil
}

// ReadAt reads what was written.
func (p *Partial) ReadAt(b []byte, offset int64) (int, error) { return p.file.ReadAt(b, offset) }

// Sync makes what was written durable, which takes its time.
func (p *Partial) Sync() error {
	err := p.file.Sync()
	if err != nil {
		p.cache.failed(err)
	}
	return err
}

// Commit puts the blob, which has the digest d and is synced, in its place, and
// with it what it is as a file.
func (p *Partial) Commit(d digest.Digest, file cid.Cid, t *unixfs.Table) error {
	err := p.commit(d, file, t)
	if err != nil {
		p.cache.failed(fmt.Errorf("caching blob %s: %w", d, err))
		return fmt.Errorf("caching blob %s: %w", d, err)
	}
	p.cache.worked()
	return nil
}

func (p *Partial) commit(d digest.Digest, file cid.Cid, t *unixfs.Table) error {
	c := p.cache
	if _, err := os.Stat(c.store.blobPath(d)); err != nil { // else it is kept, as another file
		final := c.store.cached.blobPath(d)
		if err := c.place(p.path, final); err != nil {
			return err
		}
		p.path, p.done = final, true
		c.grow(room(p.size))
		if err := syncDir(filepath.Dir(final)); err != nil {
			return err
		}
	}
	record, err := encodeFile(d, t)
	if err != nil {
		return err
	}
	return c.write(c.store.cached.filePath(file), record, true)
}

// Close ends the blob, which is removed unless Commit put it in its place.
func (p *Partial) Close() error {
	p.cache.giveBack(p.taken.Load())
	if !p.done {
		os.Remove(p.path)
	}
	release(p.lock)
	return p.file.Close()
}
