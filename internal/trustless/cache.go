package trustless

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxCached is how many bytes a cache remembers.
const maxCached = 32 << 20

// overhead is what remembering something takes beside its bytes, about.
const overhead = 256

// A cache remembers what was verified and never changes: blocks by their
// multihash, files by where they are. What was not used for longest goes first.
type cache[V any] struct {
	size func(V) int

	mu    sync.Mutex
	lru   *simplelru.LRU[string, V]
	bytes int
}

func newCache[V any](size func(V) int) *cache[V] {
	c := &cache[V]{size: size}
	// Each entry costs at least the overhead, so there are never more.
	lru, err := simplelru.NewLRU(maxCached/overhead, func(key string, v V) { c.bytes -= c.cost(key, v) })
	if err != nil {
		panic(err) // the size is positive
	}
	c.lru = lru
	return c
}

func (c *cache[V]) cost(key string, v V) int { return overhead + len(key) + c.size(v) }

func (c *cache[V]) get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(key)
}

func (c *cache[V]) add(key string, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(key) {
		return
	}
	c.bytes += c.cost(key, v)
	c.lru.Add(key, v)
	for c.bytes > maxCached {
		c.lru.RemoveOldest()
	}
}

func (c *cache[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Purge()
}
