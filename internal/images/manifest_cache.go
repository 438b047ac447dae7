package images

import (
	"bytes"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A manifestCache remembers manifests that were proved, by what they were asked for
// by. The least recently used one goes first. Finding and parsing a manifest again took
// a third of the time of an answer.
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

	// manifestOverhead is about what remembering one takes beside its bytes.
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
	return c.lru.Get(k)
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

// Forget removes what is in memory of the images below a root, and returns how many
// manifests that were.
func (l *Library) Forget(root cid.Cid) int {
	if l.config.Gateways != nil {
		l.config.Gateways.Forget()
	}
	l.forms.Purge()
	return l.manifests.forget(root)
}

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

// ManifestBytes is how many bytes of memory manifests are remembered in.
func (l *Library) ManifestBytes() int {
	c := l.manifests
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
