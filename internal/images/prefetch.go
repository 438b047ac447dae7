package images

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// prefetching has a value for each image whose blobs the process is locating. It is
// bounded, because gateways may have to be asked for each blob that a publisher lists.
var prefetching = make(chan struct{}, 32)

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
	source := l.gatewaySource(q)
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
	return v.placeIn(ctx, form)
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
