package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Partial is the file of a blob on its way into the cache. Only the process that
// began it writes to it, under a lock that ends with the process.
type Partial struct {
	cache *Cache
	file  *os.File
	size  int64

	mu      sync.Mutex
	path    string // where the file is now
	taken   int64  // bytes of the cache's room
	readers int    // that have the file open
	placed  bool   // by Commit
	closed  bool
	lock    *flock.Flock
}

// BeginBlob begins the blob that is the file id and has size bytes. Close must be
// called in the end. The error is ErrOff or ErrTooLarge if the cache does not take the
// blob, and ErrBusy if another process is fetching it.
func (c *Cache) BeginBlob(id cid.Cid, size int64) (*Partial, error) {
	if !c.IsOn() {
		return nil, ErrOff
	}
	if !c.room.fits(size) {
		return nil, ErrTooLarge
	}
	if !c.room.hasSpare(0) {
		c.offIfDiskFull(1)
		return nil, ErrTooLarge
	}
	p := &Partial{cache: c, size: size, path: c.partialPath(id)}
	err := p.open()
	if err == nil {
		return p, nil
	}
	if !errors.Is(err, ErrBusy) {
		c.failed(fmt.Errorf("caching %s: %w", id, err))
	}
	return nil, err
}

func (c *Cache) partialPath(id cid.Cid) string {
	return filepath.Join(c.store.cached.tmp(), blobPrefix+key(id))
}

func (p *Partial) open() (err error) {
	if err := p.cache.store.cached.mkdirAll(filepath.Dir(p.path)); err != nil {
		return err
	}
	if p.lock, err = takeNew(p.path); err != nil {
		return err
	}
	if p.lock == nil {
		return ErrBusy
	}
	if p.file, err = os.OpenFile(p.path, os.O_RDWR|noFollow, 0); err != nil {
		os.Remove(p.path)
		release(p.lock)
	}
	return err
}

// takeNew makes and locks a file, or returns nil if another process has locked the one
// at the path. A file that a killed process left is replaced and not reused, since
// other processes may be reading it.
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

// Follow opens the file of a blob that another process is fetching. It is read only,
// and its content is unverified.
func (c *Cache) Follow(id cid.Cid) (*os.File, error) {
	return c.store.cached.open(c.partialPath(id))
}

// Path returns the path of the file, which is in tmp until Commit puts it in its place.
func (p *Partial) Path() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.path
}

// Open opens the file for a reader, which must call done after closing it. Until then,
// the bytes of the file count as used, and a file in its place is not evicted.
func (p *Partial) Open() (f *os.File, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, err = p.cache.store.cached.open(p.path); err != nil {
		return nil, nil, err
	}
	p.readers++
	return f, sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.readers--
		p.releaseIfUnused()
	}), nil
}

// WriteAt writes verified bytes of the blob. The error is ErrTooLarge if there is no
// room for them beside other blobs on their way in. After any other error, the cache
// is off.
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

// Grow takes room for n bytes that the caller writes to the file at Path by itself.
func (p *Partial) Grow(n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.size {
		return nil // a leaf that is written twice takes no more room
	}
	if !p.cache.room.take(n) {
		p.cache.offIfDiskFull(n)
		return ErrTooLarge
	}
	p.taken += n
	return nil
}

// ReadAt reads what was written.
func (p *Partial) ReadAt(b []byte, offset int64) (int, error) { return p.file.ReadAt(b, offset) }

// Sync makes the written bytes durable, which may take seconds.
func (p *Partial) Sync() error {
	err := p.file.Sync()
	if err != nil {
		p.cache.failed(err)
	}
	return err
}

// Commit puts the blob in its place, and writes the record of its file. The blob must
// have the digest d, and must be synced.
func (p *Partial) Commit(d digest.Digest, file cid.Cid, t *unixfs.Table) error {
	err := p.commit(d, file, t)
	if err != nil {
		err = fmt.Errorf("caching blob %s: %w", d, err)
		p.cache.failed(err)
		return err
	}
	p.cache.worked()
	return nil
}

func (p *Partial) commit(d digest.Digest, file cid.Cid, t *unixfs.Table) error {
	s := p.cache.store
	if info, err := p.file.Stat(); err != nil || info.Size() != p.size {
		return errors.Join(fmt.Errorf("%s should have %d bytes: %w", p.path, p.size, ErrDamaged), err)
	}
	if !s.exists(s.blobPath(d)) { // else it is kept, as another file
		if err := p.place(s.cached.blobPath(d)); err != nil {
			return err
		}
		if err := atomicfile.SyncDir(filepath.Dir(s.cached.blobPath(d))); err != nil {
			return err
		}
	}
	record, err := encodeFile(d, t)
	if err != nil {
		return err
	}
	return p.cache.write(s.cached.filePath(file), record, true)
}

func (p *Partial) place(final string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.cache.room.place(p.taken, p.size, func() error { return p.cache.place(p.path, final, false) })
	if err == nil {
		p.path, p.placed, p.taken = final, true, 0
		_, _ = p.lock.TryRLock() // readers may lock the blob, too, and no process evicts it
	}
	return err
}

// Close ends the blob, which is removed unless Commit put it in its place.
func (p *Partial) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if !p.placed {
		if err = os.Remove(p.path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	p.closed = true
	p.releaseIfUnused()
	return errors.Join(err, p.file.Close())
}

// releaseIfUnused releases the lock and the room of a closed blob once no reader has
// its file open. It must be called with mu held.
func (p *Partial) releaseIfUnused() {
	if !p.closed || p.readers > 0 {
		return
	}
	p.cache.room.giveBack(p.taken)
	p.taken = 0
	release(p.lock)
}
