package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// serveManifest answers with a manifest that was read and checked as a whole.
// It is never redirected: a gateway would get its media type wrong, which is
// how clients know what it is.
func (h *Handler) serveManifest(w http.ResponseWriter, r *http.Request, q request) error {
	m, err := h.findManifest(r.Context(), q)
	if err != nil {
		return unanswered(r.Context(), err, &registryError{codeManifestUnknown, "there is no manifest " + q.reference + " at this address"})
	}
	setImmutable(w, r, m.Digest, m.MediaType)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.Data))
	return nil
}

// findManifest looks in the store, then at the gateways. What the store cannot
// read, a gateway may still have.
func (h *Handler) findManifest(ctx context.Context, q request) (m layout.Manifest, err error) {
	if h.store != nil {
		m, err = layout.FindManifest(ctx, h.store, q.image, q.reference)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			h.logStore(q, err)
		}
	}
	if h.pool != nil {
		return layout.FindManifest(ctx, manifests{h, q}, q.image, q.reference)
	}
	return m, err
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
