package caddymodule

import (
	"context"
	"net/http"
	"path"
	"slices"

	"github.com/ipfs/go-cid"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// serveCatalog lists what can be pulled, as far as that is a list: what the stores
// were given, and what is below the root. Nobody could list IPFS.
func (h *Handler) serveCatalog(w http.ResponseWriter, r *http.Request) error {
	if !h.Catalog {
		return &registryError{codeNotOffered, "images are listed only where this registry's option `catalog` is on"}
	}
	all := h.stored(r.Context())
	if h.root != nil {
		below, err := h.belowRoot(r.Context())
		if err != nil {
			return h.failed(r.Context(), err, errNoImage)
		}
		all = append(all, below...)
	}
	slices.Sort(all)
	all, err := pageOf(w, r, slices.Compact(all))
	if err != nil {
		return err
	}
	return serveDocument(w, r, "application/json", revalidated(r), struct {
		Repositories []string `json:"repositories"`
	}{notNil(all)})
}

// stored are the images in the stores. What damage hides is logged.
func (h *Handler) stored(ctx context.Context) []string {
	var all []string
	for _, s := range h.stores {
		records, err := s.Images(ctx)
		if err != nil && ctx.Err() == nil {
			h.logger.Error("store failed", zap.String("store", s.Dir()), zap.Error(err))
		}
		for _, record := range records {
			root, err := cidname.ParseAny(record.Root)
			if err != nil {
				continue // no record of a store has such a root
			}
			for _, image := range record.Images {
				if h.admitsQuietly(ctx, request{image: layout.Image{Root: root, Name: image.Name}}) {
					all = append(all, path.Join(record.Root, image.Name))
				}
			}
		}
	}
	return all
}

// belowRoot are the plain names.
func (h *Handler) belowRoot(ctx context.Context) ([]string, error) {
	q := request{kind: kindCatalog, rooted: true, ipns: h.root.name, image: layout.Image{Root: h.root.cid}}
	if q.isNamed() {
		found, err := h.resolve(ctx, q.ipns)
		if err != nil {
			return nil, err
		}
		q = q.below(found.Place)
	}
	all, err := fromTrees(h, q, func(tree layout.Tree) ([]string, error) {
		return layout.AllNames(ctx, func(ctx context.Context, dir cid.Cid) (map[string]cid.Cid, error) {
			return tree.ReadDir(ctx, dir, "")
		}, q.image.Root)
	})
	return slices.DeleteFunc(all, func(name string) bool {
		return name == "" || !h.admitsQuietly(ctx, request{image: layout.Image{Root: q.image.Root, Name: name}})
	}), err
}
