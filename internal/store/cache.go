package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Cache is the part of a store for what was fetched from gateways, as long as
// there is room.
//
// Anything in it may be gone at any moment, and nothing in it relies on anything
// else in it: if a leaf table is there without its blob, both are fetched again. So
// the cache needs no lock against those who add to it, and cannot damage a kept
// image. Files that were used least recently are evicted first, be they small or
// large, fetched once or often. The files' own times say when they were used, so
// several processes can share a cache, and remember nothing.
//
// If the cache cannot be written, it is off for a minute: nothing is added, and what
// is there is served.
type Cache struct {
	store *Store
	room  room

	mu     sync.Mutex
	config CacheConfig
	off    time.Time // until when
	isOff  bool
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
	c := &Cache{store: s, config: config, room: room{limit: config.MaxSize, full: make(chan struct{}, 1)}}
	c.room.spare = c.spare
	return c
}

// minFreeOf returns how many bytes of a file system with size bytes the cache leaves
// free by default.
func minFreeOf(size int64) int64 { return min(size/20, 1<<30) }

// spare returns how many bytes the disk has beyond those that must stay free, and
// below how many of them eviction begins. A disk that does not say so is not full.
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

// Size returns how many bytes the cache takes, with blobs on their way into it, as
// far as is known.
func (c *Cache) Size() int64 { return c.room.size() }

// Free returns how many bytes can be added without evicting anything, as far as is
// known.
func (c *Cache) Free() int64 { return c.room.free() }

// Configure replaces the configuration.
func (c *Cache) Configure(config CacheConfig) {
	c.mu.Lock()
	c.config = config
	c.mu.Unlock()
	c.room.resize(config.MaxSize)
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

// offIfDiskFull turns the cache off if the disk has no room for n bytes, and would have
// none without the cached blobs either.
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

// Node returns a verified node, kept or cached.
func (c *Cache) Node(id cid.Cid) ([]byte, bool) {
	data, err := c.store.readNode(id)
	if err == nil && (unixfs.Block{CID: id, Data: data}).Verify() == nil {
		return data, true
	}
	data, err = c.store.cached.readVerified(id)
	return data, err == nil
}

// AddNode stores a verified node. It is not synced: a node that a crash spoils is
// found out when it is read. If it cannot be written, the cache goes off.
func (c *Cache) AddNode(b unixfs.Block) {
	if !c.IsOn() || c.store.exists(c.store.nodePath(b.CID)) || c.store.cached.exists(c.store.cached.nodePath(b.CID)) {
		return
	}
	if err := c.write(c.store.cached.nodePath(b.CID), b.Data, false); err != nil {
		c.failed(fmt.Errorf("caching %s: %w", b.CID, err))
	}
}

// write puts a small file in place, unless the disk is too full.
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
		_ = c.store.cached.remove(t.path) // or the next process does it
		return err
	}
	c.room.change(onDisk(int64(len(data))))
	c.worked()
	return nil
}

// place puts a temporary file in place, in a directory that is made if need be.
func (c *Cache) place(temp, final string, durable bool) error {
	err := c.store.cached.place(temp, final, durable)
	if errors.Is(err, fs.ErrNotExist) {
		if err = c.store.cached.mkdirAll(filepath.Dir(final)); err == nil {
			err = c.store.cached.place(temp, final, durable)
		}
	}
	return err
}
