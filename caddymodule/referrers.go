package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// serveReferrers lists the manifests whose subject is the one that is asked for:
// signatures and bills of materials, say. Where there is nothing, there are none
// of them; clients would take 404 for a registry that cannot tell.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
func (h *Handler) serveReferrers(w http.ResponseWriter, r *http.Request, q request) error {
	referrers, err := h.referrers(r.Context(), q)
	cache := q.cacheControl(r)
	if err != nil {
		err = h.failed(r.Context(), err, errNoImage)
		if !errors.Is(err, errNoImage) {
			return err
		}
		cache = revalidated(r) // a store may have them later
	}
	if wanted := r.URL.Query().Get("artifactType"); wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
		referrers = slices.DeleteFunc(referrers, func(d v1.Descriptor) bool { return d.ArtifactType != wanted })
	}
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: notNil(referrers)}
	index.SchemaVersion = 2
	return serveDocument(w, r, v1.MediaTypeImageIndex, cache, index)
}

// errNoImage is what there being no image amounts to.
var errNoImage = &registryError{codeNameUnknown, "there is no image at this address"}

func (h *Handler) referrers(ctx context.Context, q request) ([]v1.Descriptor, error) {
	return fromImage(ctx, h, q, func(form layout.Form, tree layout.Tree) ([]v1.Descriptor, error) {
		return form.Referrers(ctx, tree, q.digest)
	})
}
