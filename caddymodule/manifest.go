package caddymodule

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"path"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// serveManifest answers with a manifest that was read and checked as a whole.
// It is never redirected: a gateway would get its media type wrong, which is
// how clients know what it is.
func (h *Handler) serveManifest(w http.ResponseWriter, r *http.Request, q request) error {
	m, certain, err := h.findManifest(r.Context(), q)
	if err != nil {
		return unanswered(r.Context(), err, &registryError{codeManifestUnknown, "there is no manifest " + q.reference + " at this address"})
	}
	setContent(w, m.Digest, m.MediaType)
	cache := immutable(r)
	switch {
	case !certain && q.digest == "":
		cache = revalidated(r) // which manifest a tag is, a gateway may have lied about
	case q.isNamed() && q.digest == "":
		cache = until(r, q.expires)
	}
	w.Header().Set("Cache-Control", cache)
	serveContent(w, r, m.Digest, bytes.NewReader(m.Data))
	return nil
}

// findManifest looks in the store, then at the gateways. What the store cannot
// read, a gateway may still have.
func (h *Handler) findManifest(ctx context.Context, q request) (m layout.Manifest, certain bool, err error) {
	m, err = fromStores(h, q, func(s *store.Store) (layout.Manifest, error) {
		return layout.FindManifest(ctx, s, q.image, q.reference)
	})
	switch {
	case err == nil || h.pool == nil:
		return m, true, err
	case h.Trust == trustGateway:
		m, err = layout.FindManifest(ctx, manifests{h, q}, q.image, q.reference)
		return m, false, err
	}
	m, err = h.findVerified(ctx, q)
	return m, true, err
}

// manifests is the layout.Tree of the gateways, for one request. It takes from
// a gateway what can be the answer to that request and asks the next one
// otherwise.
type manifests struct {
	*Handler
	request
}

// ReadFile implements layout.Tree.
func (t manifests) ReadFile(ctx context.Context, _ cid.Cid, p string, limit int64) ([]byte, error) {
	return t.file(t.request, p).ReadAll(ctx, limit, func(data []byte) error { return t.check(p, data) })
}

// ReadDir implements layout.Tree. What a directory has, only its blocks say.
func (t manifests) ReadDir(ctx context.Context, root cid.Cid, p string) (map[string]cid.Cid, error) {
	return verified(t).session().ReadDir(ctx, root, p)
}

func (t manifests) check(p string, data []byte) error {
	if t.digest != "" && t.digest.Algorithm().FromBytes(data) != t.digest {
		if path.Base(p) == t.reference {
			return trustless.ErrMismatch
		}
		// Not a lie: an image's only manifest, but another than was asked for.
		return trustless.Soft(fmt.Errorf("another manifest: %w", fs.ErrNotExist))
	}
	_, err := layout.ParseManifest(data)
	return err
}

var _ layout.Tree = manifests{}
