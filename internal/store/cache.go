package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Cache is the part of a store for what was fetched from gateways, as long as
// there is room. The store reads from it whatever is not kept.
//
// Nobody may rely on anything in it, not even on one thing because of another:
// a leaf table may be there without its blob. That is as if neither was, and both
// are fetched again. So it needs no lock against those who add, and no image of
// the store can be damaged by it. What is fetched once and served often, and what
// takes little room, has no privilege: what was used least recently goes first.
// When that was, the files' own times say, so that several processes can share a
// cache, and none has to remember anything.
//
// Where it cannot be written, it is off, for a minute at a time: nothing is added
// then, and what is there is served.
type Cache struct {
	store *Store

	mu     sync.Mutex
	config CacheConfig
	used   int64     // bytes that are in place, as far as is known
	under  int64     // bytes of blobs under way
	off    time.Time // until when
	isOff  bool
	full   chan struct{} // has a value when there is something to evict
}

// A CacheConfig says how much room a cache has, and who is told of what happens to
// it. Each function may be nil, and may be called from several goroutines at once.
type CacheConfig struct {
	// MaxSize is how many bytes the cache takes at most.
	MaxSize int64

	// MinFree is how many bytes of the file system the cache leaves free. If it is
	// zero, that is 5 % of the file system or 1 GiB, whichever is smaller. If it is
	// negative, the cache may fill the disk.
	MinFree int64

	// Evicted is called for each file that eviction removes, with its bytes.
	Evicted func(bytes int64)

	// Switched is called with the reason when the cache goes off, and with nil when
	// it is on again.
	Switched func(err error)

	// Rotten is called for each file of the store that no longer has the content
	// that its name says. The error is nil if the file was taken out of service.
	Rotten func(path string, err error)

	// ScrubFailed is called with the reason when a part of the store could not be
	// read to look for rotten files.
	ScrubFailed func(err error)
}

// NewCache returns the cache of a store.
func (s *Store) NewCache(config CacheConfig) *Cache {
	return &Cache{store: s, config: config, full: make(chan struct{}, 1)}
}

// Store returns the store that reads from the cache.
func (c *Cache) Store() *Store { return c.store }

// Size returns how many bytes it takes, with what is under way, as far as is known.
func (c *Cache) Size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.used+c.under)
}

// Configure replaces the configuration.
func (c *Cache) Configure(config CacheConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config = config
	c.wake()
}

// now returns the configuration as it is at the moment.
func (c *Cache) now() CacheConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// pause is how long the cache is off before it is tried again.
const pause = time.Minute

// IsOn reports whether something may be added.
func (c *Cache) IsOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !time.Now().Before(c.off)
}

// failed turns the cache off.
func (c *Cache) failed(err error) {
	c.mu.Lock()
	wasOff, switched := c.isOff, c.config.Switched
	c.isOff, c.off = true, time.Now().Add(pause)
	c.mu.Unlock()
	if !wasOff && switched != nil {
		switched(err)
	}
}

// worked says that the cache was written to.
func (c *Cache) worked() {
	c.mu.Lock()
	wasOff, switched := c.isOff, c.config.Switched
	c.isOff, c.off = false, time.Time{}
	c.mu.Unlock()
	if wasOff && switched != nil {
		switched(nil)
	}
}

// Node returns a node that is kept or cached. It is verified.
func (c *Cache) Node(id cid.Cid) ([]byte, bool) {
	data, err := c.store.readNode(id)
	if err == nil && (unixfs.Block{CID: id, Data: data}).Verify() == nil {
		return data, true
	}
	data, err = c.store.cached.readVerified(id)
	return data, err == nil
}

// AddNode stores a node, which is verified. It is not synced: one that a crash
// spoils is found out when it is read. Where that fails, the cache goes off.
func (c *Cache) AddNode(b unixfs.Block) {
	if !c.IsOn() {
		return
	}
	for _, sh := range []shelf{c.store.shelf, c.store.cached} {
		if _, err := os.Lstat(sh.nodePath(b.CID)); err == nil {
			return
		}
	}
	if err := c.write(c.store.cached.nodePath(b.CID), b.Data, false); err != nil {
		c.failed(fmt.Errorf("caching %s: %w", b.CID, err))
	}
}

// write puts a small file in place.
func (c *Cache) write(final string, data []byte, durable bool) error {
	f, lock, err := c.createTemp()
	if err != nil {
		return err
	}
	defer release(lock)
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = c.place(f.Name(), final)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	c.grow(room(int64(len(data))))
	c.worked()
	return nil
}

// createTemp makes a temporary file. Before its lock is held it looks like one
// that was left; where it was cleared up by then, it is given up for another.
func (c *Cache) createTemp() (*os.File, *flock.Flock, error) {
	tmp := c.store.cached.tmp()
	if err := mkdirAll(tmp); err != nil {
		return nil, nil, err
	}
	for {
		f, err := os.CreateTemp(tmp, nodePrefix)
		if err != nil {
			return nil, nil, err
		}
		lock, err := try(f.Name(), exclusive)
		if lock != nil && isOf(lock, f) {
			return f, lock, nil
		}
		f.Close()
		if lock != nil || err != nil {
			os.Remove(f.Name())
		}
		if lock != nil {
			release(lock)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// isOf reports whether a lock is that of an open file, and not of another that has
// its name by now.
func isOf(l *flock.Flock, f *os.File) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	info, err := f.Stat()
	return err == nil && os.SameFile(held, info)
}

// place renames a temporary file.
func (c *Cache) place(temp, final string) error {
	err := os.Rename(temp, final)
	if errors.Is(err, fs.ErrNotExist) {
		if err = mkdirAll(filepath.Dir(final)); err == nil {
			err = os.Rename(temp, final)
		}
	}
	return err
}

// mkdirAll makes directories that everybody may read, whatever the umask says.
func mkdirAll(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// What is in tmp: nodes and leaf tables for a moment, and blobs under way. All files
// are locked by whoever writes them, so what a killed process left can be told.
const (
	nodePrefix = "node-"
	blobPrefix = "blob-"
)

var (
	// ErrTooLarge says that there is no room for a blob.
	ErrTooLarge = errors.New("too large for the cache")

	// ErrBusy says that another process has the same blob under way.
	ErrBusy = errors.New("another process is fetching it")

	// ErrOff says that the cache cannot be written, or could not lately.
	ErrOff = errors.New("the cache is off")
)

func (c *Cache) canHold(size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return size <= c.config.MaxSize
}

// take makes sure that what is under way fits together. What blobs say that they
// will have does not count, or one of which nothing comes would take all the room.
func (c *Cache) take(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under+n > c.config.MaxSize {
		return false
	}
	c.under += n
	c.wake()
	return true
}

func (c *Cache) giveBack(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under -= n
}
