package images

import (
	"strconv"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

func TestManifestCacheIsBounded(t *testing.T) {
	c := newManifestCache()
	key := func(i int) manifestKey { return manifestKey{reference: strconv.Itoa(i)} }
	const n = 2 * maxManifests >> 20
	for i := range n {
		c.add(key(i), layout.Manifest{Data: make([]byte, 1<<20)})
		c.add(key(i), layout.Manifest{Data: make([]byte, 1<<20)}) // counts once
		if _, known := c.get(key(0)); i < n/2-1 && !known {
			t.Fatalf("the first is gone after %d", i)
		}
	}
	if _, known := c.get(key(n - 1)); !known {
		t.Error("the last is not there")
	}
	if _, known := c.get(key(n / 2)); known || c.bytes > maxManifests {
		t.Errorf("%d bytes are remembered", c.bytes)
	}
	c.add(key(n), layout.Manifest{Data: make([]byte, layout.MaxManifest)})
	if _, known := c.get(key(n)); !known {
		t.Error("the largest that there may be is not there")
	}
}
