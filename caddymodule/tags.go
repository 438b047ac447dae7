package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// serveTags lists the tags of an image.
func (h *Handler) serveTags(w http.ResponseWriter, r *http.Request, q request) error {
	tags, err := h.tags(r.Context(), q)
	if err != nil {
		err = h.failed(r.Context(), err, errNoImage)
		if errors.Is(err, errNoImage) {
			return h.absent(r.Context(), q)
		}
		return err
	}
	if tags, err = pageOf(w, r, tags); err != nil {
		return err
	}
	return serveDocument(w, r, "application/json", q.cacheControl(r), struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{q.repository, notNil(tags)})
}

// tags returns the tags of an image, sorted. What is only another name for what
// has a tag is none.
func (h *Handler) tags(ctx context.Context, q request) ([]string, error) {
	return fromImage(ctx, h, q, func(form layout.Form, tree layout.Tree) ([]string, error) {
		return form.Tags(ctx, tree)
	})
}

// checkTag returns the answer to a tag that a plain name does not have. As a
// mirror, the registry must not say of an image that it is the latest one of
// somebody else's registry because nobody named a tag here.
func (h *Handler) checkTag(ctx context.Context, q request) error {
	if !q.rooted || !layout.MayBeAlias(q.reference) {
		return nil
	}
	tags, err := h.tags(ctx, q)
	if err != nil {
		return h.failed(ctx, err, manifestUnknown(q))
	}
	if !slices.Contains(tags, q.reference) {
		return manifestUnknown(q)
	}
	return nil
}

// fromTrees is what read gets of what may be no image: from the first store that
// has it, or else from what gateways prove.
func fromTrees[T any](h *Handler, q request, read func(layout.Tree) (T, error)) (T, error) {
	found, err := fromStores(h, q, func(s *store.Store) (T, error) { return read(stored{s}) })
	if err == nil || h.pool == nil {
		return found, err
	}
	found, err = read(verified{h, q})
	return found, proven(err)
}
