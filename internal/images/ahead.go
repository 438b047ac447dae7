package images

import (
	"encoding/json"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// maxPrefetched is how many blobs of one manifest are prefetched. Few images have
// more layers.
const maxPrefetched = 64

// The blobs of an image that are prefetched, and that no client has asked for yet, have
// at most aheadFactor times the bytes that clients have asked for: at least minAhead
// bytes, and at most maxAhead.
const (
	aheadFactor = 200
	minAhead    = 1 << 20
	maxAhead    = 64 << 20
)

// A descriptor is what a manifest says of a blob.
type descriptor struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"` // bytes
}

// blobsOf returns an image's config and first layers, or none for an index.
func blobsOf(m layout.Manifest) []descriptor {
	var image struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if json.Unmarshal(m.Data, &image) != nil {
		return nil
	}
	var blobs []descriptor
	for _, d := range append([]descriptor{image.Config}, image.Layers...) {
		if d.Digest.Validate() == nil && d.Size > 0 && len(blobs) < maxPrefetched {
			blobs = append(blobs, d)
		}
	}
	return blobs
}

// A prefetch fetches blobs of a manifest into the store that its client is about to ask
// for. A client that only asks for manifests has little fetched: more is prefetched with
// each blob that a client asks for.
type prefetch struct {
	query Query // of the manifest

	mu      sync.Mutex
	waiting []descriptor            // neither prefetched nor asked for
	begun   map[digest.Digest]int64 // bytes of the prefetched blobs that no client has asked for
	ahead   int64                   // bytes of all of these
	asked   int64                   // bytes that clients have asked for
	busy    bool                    // a goroutine begins blobs
}

// next returns the next blob that may be prefetched. If there is none, the prefetch is no
// longer busy.
func (p *prefetch) next() (descriptor, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := min(maxAhead, max(minAhead, aheadFactor*p.asked))
	for i, d := range p.waiting {
		if d.Size > most-p.ahead {
			continue
		}
		p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
		p.begun[d.Digest] = d.Size
		p.ahead += d.Size
		return d, true
	}
	p.busy = false
	return descriptor{}, false
}

// take notes that a client asks for n bytes of a blob, or for all of it if n is negative.
func (p *prefetch) take(blob digest.Digest, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := p.begun[blob]
	p.ahead -= size
	delete(p.begun, blob)
	for i, d := range p.waiting {
		if d.Digest == blob {
			size = d.Size
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			break
		}
	}
	if n < 0 {
		n = size
	}
	p.asked = min(p.asked+n, maxAhead)
}

// enter reports whether the caller may begin blobs, and no other goroutine does.
func (p *prefetch) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || len(p.waiting) == 0 {
		return false
	}
	p.busy = true
	return true
}

// leave undoes enter.
func (p *prefetch) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
}

// giveUp ends a prefetch.
func (p *prefetch) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting, p.busy = nil, false
}

// A prefetchKey is a blob of an image.
type prefetchKey struct {
	image layout.Image
	blob  digest.Digest
}

// prefetchesSize is how many bytes of memory the prefetches of a library take, and
// prefetchSize about how many one of them takes for each blob.
const (
	prefetchesSize = 4 << 20
	prefetchSize   = 256
)
