// Package memo avoids repeated look-ups: a Cache keeps results within a bound of bytes,
// and a Group lets callers that want the same result at the same time share one look-up.
package memo

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Overhead is about how many bytes an entry of a Cache takes beside its key and
// value.
const Overhead = 256

// A Cache keeps values within a bound of bytes. The least recently used entry
// goes first. Its methods may be called concurrently.
type Cache[K comparable, V any] struct {
	limit int
	size  func(K, V) int

	mu    sync.Mutex
	lru   *simplelru.LRU[K, V]
	bytes int
}

// NewCache returns a cache of at most limit bytes. The function size returns how many
// bytes an entry takes without Overhead. It must always return the same number for an
// entry.
func NewCache[K comparable, V any](limit int, size func(K, V) int) *Cache[K, V] {
	c := &Cache[K, V]{limit: limit, size: size}
	// Each entry costs at least the overhead, so there are never more.
	lru, err := simplelru.NewLRU(max(1, limit/Overhead), func(k K, v V) { c.bytes -= c.cost(k, v) })
	if err != nil {
		panic(err) // the size is positive
	}
	c.lru = lru
	return c
}

func (c *Cache[K, V]) cost(k K, v V) int { return Overhead + c.size(k, v) }

// Get returns the value of a key, which counts as a use of it.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(k)
}

// Add adds an entry unless the key has one. An entry larger than the whole cache
// is not kept.
func (c *Cache[K, V]) Add(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(k) || c.cost(k, v) > c.limit {
		return
	}
	c.bytes += c.cost(k, v)
	c.lru.Add(k, v)
	for c.bytes > c.limit {
		c.lru.RemoveOldest()
	}
}

// RemoveFunc removes the entries whose key matches, and returns how many it
// removed.
func (c *Cache[K, V]) RemoveFunc(match func(K) bool) (removed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.lru.Keys() {
		if match(k) && c.lru.Remove(k) {
			removed++
		}
	}
	return removed
}

// Clear removes all entries.
func (c *Cache[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Purge()
}

// Len returns the number of entries.
func (c *Cache[K, V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Len()
}

// Bytes returns how many bytes the entries take.
func (c *Cache[K, V]) Bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
