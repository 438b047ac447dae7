package images

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// prefetching has a value for each manifest whose blobs the process is locating. It is
// bounded, because gateways may have to be asked for each blob that a publisher lists.
var prefetching = make(chan struct{}, 32)

// maxPrefetched is how many blobs of one manifest are prefetched. Few images have
// more layers.
const maxPrefetched = 64

// prefetch begins to fetch the blobs of a manifest into the store, because the client that
// asked for the manifest is about to ask for them. The lists must allow the manifest.
func (l *Library) prefetch(q Query, m layout.Manifest) {
	if l.config.Filler == nil || l.config.Prefetch == 0 {
		return
	}
	select {
	case prefetching <- struct{}{}:
		go func() {
			defer func() { <-prefetching }()
			l.prefetchBlobs(q, m)
		}()
	default:
	}
}

func (l *Library) prefetchBlobs(q Query, m layout.Manifest) {
	q.Reference = ""
	source := newGatewaySource(l.config, q)
	for _, d := range blobsOf(m) {
		q.Digest = d
		v := view{checked{source, l.config.Lists, q}, l, origin{kind: FromGateway}, q}
		at, err := v.locate(l.ctx)
		if err != nil {
			continue
		}
		if _, err := v.check(l.ctx, at); err == nil {
			remoteBlob{source, at, d}.prefetch()
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

// blobsOf returns the digests of an image's config and first layers, or none for an index.
func blobsOf(m layout.Manifest) []digest.Digest {
	type descriptor struct {
		Digest digest.Digest `json:"digest"`
	}
	var image struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if json.Unmarshal(m.Data, &image) != nil {
		return nil
	}
	var blobs []digest.Digest
	for _, d := range append([]descriptor{image.Config}, image.Layers...) {
		if d.Digest.Validate() == nil && len(blobs) < maxPrefetched {
			blobs = append(blobs, d.Digest)
		}
	}
	return blobs
}
