package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// serveManifest answers with a manifest that was read and checked as a whole.
// It is never redirected: a gateway would get its media type wrong, which is
// how clients know what it is.
func (h *Handler) serveManifest(w http.ResponseWriter, r *http.Request, q request) error {
	m, certain, err := h.findManifest(r.Context(), q)
	if err == nil {
		err = h.admitAt(r.Context(), q, m.At)
	}
	switch {
	case errors.Is(err, layout.ErrUncompressedDigest):
		return unusable(q, err)
	case err != nil:
		return h.failed(r.Context(), err, manifestUnknown(q))
	}
	setContent(w, m.Digest, m.MediaType)
	cache := immutable(r)
	switch {
	case !certain && q.digest == "":
		cache = revalidated(r) // which manifest a tag is, a gateway may have lied about
	case q.digest == "":
		cache = q.cacheControl(r)
	}
	w.Header().Set("Cache-Control", cache)
	serveContent(w, r, m.Digest, bytes.NewReader(m.Data))
	return nil
}

// findManifest looks in the store, then at the gateways. What the store cannot
// read, a gateway may still have.
func (h *Handler) findManifest(ctx context.Context, q request) (m layout.Manifest, certain bool, err error) {
	ctx, end := resolving(ctx, "reference", q.reference)
	defer end(&err)
	m, err = fromStores(h, q, func(s *store.Store) (layout.Manifest, error) { return h.findIn(ctx, stored{s}, q) })
	switch {
	case err == nil || h.pool == nil || errors.Is(err, layout.ErrUncompressedDigest):
		return m, true, err
	case h.Trust == trustGateway:
		m, err = h.findTrusted(ctx, q)
		return m, false, err
	}
	m, err = h.findVerified(ctx, q)
	return m, true, err
}

// findIn looks for a manifest where most images have it, which takes one look,
// and then where the form of the image says.
func (h *Handler) findIn(ctx context.Context, tree layout.Tree, q request) (layout.Manifest, error) {
	form, known := h.forms.Get(q.image)
	if !known || form.IsNative() {
		m, err := layout.ReadManifest(ctx, tree, q.image, q.reference)
		if err == nil && !known {
			h.forms.Add(q.image, layout.Native(q.image))
		}
		if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, layout.ErrLacking) {
			return m, err
		}
	}
	return h.findDetected(ctx, tree, q)
}

func (h *Handler) findDetected(ctx context.Context, tree layout.Tree, q request) (layout.Manifest, error) {
	form, err := h.form(ctx, tree, q.image)
	if err != nil {
		return layout.Manifest{}, err
	}
	return form.Manifest(ctx, tree, q.reference)
}

// findTrusted takes a gateway's word for where most images have a manifest, though
// not for more than this one. Which form another image has takes proof; from a
// gateway that gives none, there are images of image2ipfs still.
func (h *Handler) findTrusted(ctx context.Context, q request) (layout.Manifest, error) {
	if form, known := h.forms.Get(q.image); !known || form.IsNative() {
		m, err := layout.ReadManifest(ctx, manifests{h, q}, q.image, q.reference)
		if !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
	}
	m, err := h.findDetected(ctx, verified{h, q}, q)
	if !asked(err) {
		return m, proven(err)
	}
	return layout.FindManifest(ctx, manifests{h, q}, q.image, q.reference)
}

// unusable is the answer that says why no client takes an image, and what to do.
func unusable(q request, err error) error {
	ref := q.image.Root.String()
	if name, failed := cidname.Format(q.image.Root); failed == nil {
		ref = name
	}
	return &registryError{codeManifestInvalid, fmt.Sprintf("%v: `converter repair %s` writes the image anew", err, path.Join(ref, q.image.Name))}
}

// manifests is the layout.Tree of the gateways, for one request. It takes from
// a gateway what can be the answer to that request and asks the next one
// otherwise.
type manifests struct {
	*Handler
	request
}

// ReadFile implements layout.Tree.
func (t manifests) ReadFile(ctx context.Context, root cid.Cid, p string, limit int64) ([]byte, error) {
	return t.file(t.request, layout.Place{Root: root, Path: p}).ReadAll(ctx, limit, func(data []byte) error { return t.check(p, data) })
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
		return gateway.Soft(fmt.Errorf("another manifest: %w", fs.ErrNotExist))
	}
	_, err := layout.ParseManifest(data)
	return err
}

var _ layout.Tree = manifests{}
