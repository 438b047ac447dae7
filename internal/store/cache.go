package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Cache is the part of a store that holds blobs and nodes from gateways, within a
// limit of bytes.
//
// A cached file may be gone at any moment, and no cached file relies on another: if a
// leaf table is there without its blob, both are fetched again. So adding to the cache
// takes no lock, and the cache cannot damage a kept image. The least recently used
// files are evicted first, whatever their size. The modification time of a file says
// when it was used last, so several processes can share a cache and need not remember
// anything.
//
// A cache that cannot be written is off for a minute. Meanwhile it serves what it has,
// and takes nothing more.
type Cache struct {
	store *Store
	room  room

	begun chan struct{} // has a value when a blob has begun before the cache was measured

	evicting sync.Mutex // held while this process evicts
	inVain   time.Time  // when eviction last made no room; guarded by evicting

	mu     sync.Mutex
	config CacheConfig
	off    time.Time // the cache is off until then
	isOff  bool      // Switched was called with an error last
}

// A CacheConfig says how much room a cache has, and which functions are told of
// events. Each function may be nil, and may be called from several goroutines at once.
type CacheConfig struct {
	// MaxSize is how many bytes the cache takes at most.
	MaxSize int64

	// MinFree is how many bytes of the file system the cache leaves free. Zero stands
	// for 5 % of the file system, but at most 1 GiB. With a negative value, the cache
	// may fill the disk.
	MinFree int64

	// Evicted is called for each file that eviction removes, with its bytes.
	Evicted func(bytes int64)

	// Switched is called with the reason when the cache goes off, and with nil when
	// it is on again.
	Switched func(err error)

	// Rotten is called for each file of the store whose content no longer has the
	// digest in its name. The error is nil if the file was taken out of service.
	Rotten func(path string, err error)

	// ScrubFailed is called with the reason when a part of the store could not be
	// read to look for rotten files.
	ScrubFailed func(err error)
}

var (
	// ErrTooLarge says that there is no room for a blob.
	ErrTooLarge = errors.New("too large for the cache")

	// ErrBusy says that another process is fetching the same blob.
	ErrBusy = errors.New("another process is fetching it")

	// ErrOff says that the cache cannot be written, or could not be lately.
	ErrOff = errors.New("the cache is off")
)

// NewCache returns the cache of a store.
func (s *Store) NewCache(config CacheConfig) *Cache {
	c := &Cache{store: s, config: config, begun: make(chan struct{}, 1)}
	c.room.limit, c.room.full = config.MaxSize, make(chan struct{}, 1)
	c.room.spare = c.spare
	return c
}

// minFreeOf returns how many bytes of a file system with size bytes the cache leaves
// free by default.
func minFreeOf(size int64) int64 { return min(size/20, 1<<30) }

// spare returns how many bytes the disk has beyond those that must stay free. Eviction
// begins when there are fewer than low. If the size of the disk is not known, it is not
// full.
func (c *Cache) spare() (bytes, low int64) {
	minFree := c.now().MinFree
	if minFree < 0 {
		return math.MaxInt64, 0
	}
	free, size, err := diskSpace(c.store.cached.dir)
	if err != nil {
		return math.MaxInt64, 0
	}
	if minFree == 0 {
		minFree = minFreeOf(size)
	}
	return free - minFree, minFree / 4
}

// Store returns the store that reads from the cache.
func (c *Cache) Store() *Store { return c.store }

// Size returns about how many bytes the cache takes on disk, including blobs on their
// way into it.
func (c *Cache) Size() int64 { return c.room.size() }

// Free returns about how many bytes can be added without evicting anything.
func (c *Cache) Free() int64 { return c.room.free() }

// Reserve reserves n bytes of free room for a blob that is prefetched, until release is
// called. Prefetched blobs that no reader opens take a tenth of the cache at most.
func (c *Cache) Reserve(n int64) (release func(), ok bool) { return c.room.reserve(n) }

// Configure replaces the configuration.
func (c *Cache) Configure(config CacheConfig) {
	c.mu.Lock()
	c.config = config
	c.mu.Unlock()
	c.room.resize(config.MaxSize)
}

// now returns the current configuration.
func (c *Cache) now() CacheConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// pause is how long the cache is off before it is tried again.
const pause = time.Minute

// IsOn reports whether the cache takes anything.
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

// offIfDiskFull turns the cache off if the disk has no room for n bytes, even if all
// cached blobs were evicted.
func (c *Cache) offIfDiskFull(n int64) {
	spare, _ := c.spare()
	if spare+c.room.evictable() >= n {
		return
	}
	c.failed(fmt.Errorf("%s: the disk has no more free space than must stay free (min_free)", c.store.cached.dir))
}

// worked turns the cache on again, after it was written to.
func (c *Cache) worked() {
	c.mu.Lock()
	wasOff, switched := c.isOff, c.config.Switched
	c.isOff, c.off = false, time.Time{}
	c.mu.Unlock()
	if wasOff && switched != nil {
		switched(nil)
	}
}

// take takes room for n bytes of a blob on its way in, or reports that there is none. If
// the cache would exceed its limit by more than a tenth, it evicts first: eviction in the
// background may be slower than the blobs come.
func (c *Cache) take(n int64) bool {
	if c.room.exceeds(n) && !c.evictFor(n) {
		return false
	}
	return c.room.take(n)
}

// evictAgain is how long writers do not evict after that made no room. They would wait for
// one another, and each for a look at all files.
const evictAgain = time.Second

// evictFor evicts to make room for n bytes, and reports whether there is room.
func (c *Cache) evictFor(n int64) bool {
	c.evicting.Lock()
	defer c.evicting.Unlock()
	if !c.room.exceeds(n) { // another writer has evicted since
		return true
	}
	if time.Since(c.inVain) < evictAgain {
		return false
	}
	if err := c.evict(context.Background()); err != nil {
		c.failed(err)
	}
	if c.room.exceeds(n) {
		c.inVain = time.Now()
		return false
	}
	return true
}

// Node returns a verified node, kept or cached.
func (c *Cache) Node(id cid.Cid) ([]byte, bool) {
	data, err := c.store.readNode(id)
	if err == nil && (unixfs.Block{CID: id, Data: data}).Verify() == nil {
		return data, true
	}
	data, err = c.store.cached.readVerified(id)
	return data, err == nil
}

// AddNode stores a verified node. The node is not synced, since it is verified whenever
// it is read. If the node cannot be written, the cache goes off.
func (c *Cache) AddNode(b unixfs.Block) {
	if !c.IsOn() || c.store.exists(c.store.nodePath(b.CID)) || c.store.cached.exists(c.store.cached.nodePath(b.CID)) {
		return
	}
	if err := c.write(c.store.cached.nodePath(b.CID), b.Data, false); err != nil {
		c.failed(fmt.Errorf("caching %s: %w", b.CID, err))
	}
}

// write puts a small file in place, or does nothing if the disk is too full.
func (c *Cache) write(final string, data []byte, durable bool) error {
	if !c.room.hasSpare(int64(len(data))) {
		return nil
	}
	if err := c.store.cached.mkdirAll(c.store.cached.tmp()); err != nil {
		return err
	}
	t, err := c.store.cached.newTemp(nodePrefix)
	if err != nil {
		return err
	}
	defer release(t.lock)
	err = c.store.cached.overwrite(t.path, data)
	if err == nil {
		err = c.place(t.path, final, durable)
	}
	if err != nil {
		// Unlike remove, os.Remove works without a free file descriptor. If it fails,
		// the next process removes the file.
		_ = os.Remove(t.path)
		return err
	}
	c.room.change(onDisk(int64(len(data))))
	c.worked()
	return nil
}

// place puts a temporary file in place, and makes the directory for it if necessary.
func (c *Cache) place(temp, final string, durable bool) error {
	err := c.store.cached.place(temp, final, durable)
	if errors.Is(err, fs.ErrNotExist) {
		if err = c.store.cached.mkdirAll(filepath.Dir(final)); err == nil {
			err = c.store.cached.place(temp, final, durable)
		}
	}
	return err
}
