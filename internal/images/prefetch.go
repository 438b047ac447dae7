package images

import (
	"context"
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

// prefetching has a value for each image whose blobs the process is locating. It is
// bounded, because gateways may have to be asked for each blob that a publisher lists.
var prefetching = make(chan struct{}, 32)

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

// prefetch begins to prefetch the blobs of a manifest. The lists must allow the manifest.
func (l *Library) prefetch(q Query, m layout.Manifest) {
	if l.config.Filler == nil || l.config.Prefetch == 0 {
		return
	}
	blobs := blobsOf(m)
	p := &prefetch{query: q, waiting: blobs, begun: map[digest.Digest]int64{}, asked: int64(len(m.Data))}
	for _, d := range blobs {
		l.memory.prefetches.Add(prefetchKey{q.Image, d.Digest}, p)
	}
	l.goOn(p)
}

// wanted notes that a client asks for a blob, or for a part of it, so that more of its
// image is prefetched.
func (l *Library) wanted(q Query, part *Range) {
	p, ok := l.memory.prefetches.Get(prefetchKey{q.Image, q.Digest})
	if !ok {
		return
	}
	n := int64(-1)
	if part != nil {
		n = max(0, part.Last-part.First+1) // 0 if the part has no end, as a client may leave at once
	}
	p.take(q.Digest, n)
	l.goOn(p)
}

// goOn begins the blobs that may be prefetched now.
func (l *Library) goOn(p *prefetch) {
	if !p.enter() {
		return
	}
	select {
	case prefetching <- struct{}{}:
		go func() {
			defer func() { <-prefetching }()
			l.prefetchBlobs(p)
		}()
	default:
		p.leave()
	}
}

// prefetchBlobs begins one blob after the other. A blob that cannot be begun may have
// cost much, so no other follows it.
func (l *Library) prefetchBlobs(p *prefetch) {
	q := p.query
	q.Reference = ""
	source := newGatewaySource(l.config, q)
	for {
		d, ok := p.next()
		if !ok {
			return
		}
		q.Digest = d.Digest
		v := view{checked{source, l.config.Lists, q}, l, origin{kind: FromGateway}, q}
		at, err := v.locate(l.ctx)
		if err == nil {
			_, err = v.check(l.ctx, at)
		}
		if err == nil {
			err = remoteBlob{source, at, d.Digest}.prefetch(l.ctx, d.Size)
		}
		if err != nil {
			p.giveUp()
			return
		}
	}
}

// locate returns the place of the query's blob in the form of its image if that is known,
// and otherwise its native place.
func (v view) locate(ctx context.Context) (layout.Place, error) {
	form, known, err := v.remembered(ctx)
	if !known {
		return v.query.nativeBlob(), err
	}
	return form.Blob(ctx, v, v.query.Digest)
}

// A wantedBlob tells the library when it is copied.
type wantedBlob struct {
	Blob
	wanted func(part *Range)
}

// Copy implements Blob.
func (b wantedBlob) Copy(ctx context.Context, part *Range, sink Sink) error {
	b.wanted(part)
	return b.Blob.Copy(ctx, part, sink)
}
