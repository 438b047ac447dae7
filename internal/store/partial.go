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
	resumed int64  // bytes that an earlier try left in the file
	taken   int64  // bytes of the cache's room
	readers int    // that have the file open
	placed  bool   // by Commit
	stays   bool   // for the next try
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
	if !c.room.isMeasured() {
		wake(c.begun)
	}
	p := &Partial{cache: c, size: size, path: c.store.cached.partialPath(id)}
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
	if err := p.cache.store.cached.mkdirAll(filepath.Dir(p.path)); err != nil {
		return err
	}
	isOpen, err := p.openFile()
	if !isOpen && err == nil { // another process may read the old file, so a new one takes its place
		isOpen, err = p.openFile()
	}
	if !isOpen && err == nil {
		err = ErrBusy
	}
	return err
}

// openFile opens the file and locks it. It removes a file that cannot be resumed, and
// reports false then.
func (p *Partial) openFile() (isOpen bool, err error) {
	if p.lock, err = try(p.path, exclusive); err != nil {
		return false, err
	}
	if p.lock == nil {
		return false, ErrBusy
	}
	if p.file, err = os.OpenFile(p.path, os.O_RDWR|noFollow, 0); err == nil {
		if isOpen, err = p.resume(); isOpen {
			return true, nil
		}
		p.file.Close()
	}
	os.Remove(p.path)
	release(p.lock)
	return false, err
}

// resume takes room for the bytes that an earlier try left in the file, and reports
// whether there was room.
func (p *Partial) resume() (bool, error) {
	info, err := p.file.Stat()
	if err != nil {
		return false, err
	}
	n := info.Size()
	p.cache.room.change(-onDisk(n))
	if n > 0 && (n > p.size || !p.cache.take(n)) {
		return false, nil
	}
	p.resumed, p.taken = n, n
	return true, nil
}

// Resumed returns how many bytes an earlier try left in the file. Any of these bytes
// may be missing or wrong, so the caller must verify them.
func (p *Partial) Resumed() int64 { return p.resumed }

// Follow opens the file of a blob that another process is fetching. It is read only,
// and its content is unverified.
func (c *Cache) Follow(id cid.Cid) (*os.File, error) {
	return c.store.cached.open(c.store.cached.partialPath(id))
}

// Path returns the path of the file, which is in tmp until Commit puts it in its place.
func (p *Partial) Path() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.path
}

// Open opens the file for a reader, which must call done after closing it. Until then,
// the bytes of the file count as used, and a file in its place is not evicted. A closed
// blob can be opened only if it is in its place.
func (p *Partial) Open() (f *os.File, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed && !p.placed {
		return nil, nil, fs.ErrClosed // the next try may be writing the file, out of order
	}
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
	if !p.cache.take(n) {
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
// have the digest d, and must be synced. A blob that is not used yet is evicted first.
func (p *Partial) Commit(d digest.Digest, file cid.Cid, t *unixfs.Table, used bool) error {
	err := p.commit(d, file, t, used)
	if err != nil {
		err = fmt.Errorf("caching blob %s: %w", d, err)
		p.cache.failed(err)
		return err
	}
	p.cache.worked()
	return nil
}

func (p *Partial) commit(d digest.Digest, file cid.Cid, t *unixfs.Table, used bool) error {
	s := p.cache.store
	if info, err := p.file.Stat(); err != nil || info.Size() != p.size {
		return errors.Join(fmt.Errorf("%s should have %d bytes: %w", p.path, p.size, ErrDamaged), err)
	}
	if !s.exists(s.blobPath(d)) { // else it is kept, as another file
		if err := p.place(s.cached.blobPath(d)); err != nil {
			return err
		}
		if !used && s.cached.setTime(s.cached.blobPath(d), neverUsed) == nil {
			p.cache.room.keepUnused(p.size)
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

// Stay makes Close leave the file in tmp for a while, unless a reader has it open. The
// next BeginBlob of the same file resumes it. Eviction removes such files first.
func (p *Partial) Stay() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stays = true
}

// Close ends the blob. It removes the file unless Commit put it in its place, or Stay
// was called.
func (p *Partial) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	switch {
	case p.placed:
	case p.stays && p.readers == 0 && p.taken > 0:
		var info fs.FileInfo
		if info, err = p.file.Stat(); err == nil {
			err = p.cache.room.place(p.taken, info.Size(), func() error { return nil })
			p.taken = 0
		}
	default:
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
