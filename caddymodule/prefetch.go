package caddymodule

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// prefetch begins to fetch the blobs of a manifest that gateways gave, since whoever
// asked for it is about to ask for them. What a list refuses nobody will get.
func (h *Handler) prefetch(q request, m layout.Manifest) {
	if h.filler == nil || h.prefetches() == 0 {
		return
	}
	q.seen = nil // the request may be over before we are
	select {
	case prefetching <- struct{}{}:
		go func() {
			defer func() { <-prefetching }()
			h.prefetchBlobs(q, m)
		}()
	default:
	}
}

// prefetching has a value for each manifest whose blobs are looked for, so that
// those of hostile publishers, who have gateways asked for each, are not too many.
var prefetching = make(chan struct{}, 32)

// maxPrefetched is how many blobs of one manifest are prefetched. Few images have
// more layers.
const maxPrefetched = 64

func (h *Handler) prefetchBlobs(q request, m layout.Manifest) {
	session := verified{h, q}.session()
	for _, d := range blobsOf(m) {
		q.kind, q.reference, q.digest = kindBlob, "", d
		at := q.nativeBlob()
		if form, known := h.forms.Get(q.image); known {
			var err error
			if at, err = form.Blob(h.ctx, verified{h, q}, d); err != nil {
				continue
			}
		}
		if h.admitAt(h.ctx, q, at) == nil {
			h.filler.Prefetch(session, fillOf(at, d))
		}
	}
}

// blobsOf returns the config of an image and its first layers, none of an index.
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
