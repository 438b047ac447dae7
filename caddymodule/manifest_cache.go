package caddymodule

import (
	"bytes"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A manifestCache remembers manifests that were proved, by what they were asked
// for by, least recently used first to go. Below a root, a reference stands for
// the same manifest for ever, so to find and parse it again would give nothing
// new, and took a third of the time of an answer.
type manifestCache struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[manifestKey, layout.Manifest]
	bytes int
}

type manifestKey struct {
	image     layout.Image
	reference string
}

const (
	// maxManifests is how many bytes manifests are remembered in.
	maxManifests = 16 << 20

	// manifestOverhead is what remembering one takes beside its bytes, about.
	manifestOverhead = 1 << 10
)

func newManifestCache() *manifestCache {
	c := new(manifestCache)
	lru, err := simplelru.NewLRU(maxManifests/manifestOverhead, func(_ manifestKey, m layout.Manifest) {
		c.bytes -= len(m.Data) + manifestOverhead
	})
	if err != nil {
		panic(err) // the size is positive
	}
	c.lru = lru
	return c
}

func (c *manifestCache) get(k manifestKey) (layout.Manifest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, known := c.lru.Get(k)
	countLook(cacheManifests, known)
	return m, known
}

func (c *manifestCache) add(k manifestKey, m layout.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(k) {
		return
	}
	c.bytes += len(m.Data) + manifestOverhead
	c.lru.Add(k, m)
	for c.bytes > maxManifests {
		c.lru.RemoveOldest()
	}
}

// forget removes what is below a root, and returns how much that was.
func (c *manifestCache) forget(root cid.Cid) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.lru.Keys() {
		if bytes.Equal(k.image.Root.Hash(), root.Hash()) && c.lru.Remove(k) {
			n++
		}
	}
	return n
}

// size is how many bytes the cache takes.
func (c *manifestCache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
