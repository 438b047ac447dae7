package registry

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// serveManifest answers with a manifest that was read and checked as a whole. It is
// never redirected: a gateway would get its media type wrong, by which clients know
// what it is.
func (g *Registry) serveManifest(w http.ResponseWriter, r Request, q request) error {
	ctx, giveBack := context.WithCancel(r.Context())
	defer giveBack()
	m, from, err := g.findManifest(ctx, q)
	if err != nil {
		return g.explain(r.Context(), q, g.answerTo(q, err, manifestUnknown(q)))
	}
	release, err := g.hold(w, r, q, len(m.Data))
	if err != nil {
		return err
	}
	defer release()
	giveBack() // the memory of what was read, which does not wait for the client
	r.from(from)
	cache := q.cacheControl(r)
	switch {
	case q.Digest != "":
		cache = q.immutable(r, q.Reference)
	case q.Own:
		m.Digest = g.nameOf(r.Context(), q, m)
	}
	setContent(w, m.Digest, m.MediaType)
	if q.Own {
		g.tellPath(r.Context(), w, q)
	}
	w.Header().Set("Cache-Control", cache)
	serveBytes(w, r, m.Digest, m.Data)
	return nil
}

// smallDocument is the size of documents, in bytes, that are not counted.
const smallDocument = 64 << 10

// hold takes the memory for a document of size bytes until it is sent. If other requests
// need the memory, a client that takes the document slowly loses its connection.
func (g *Registry) hold(w http.ResponseWriter, r Request, q request, size int) (release func(), err error) {
	if size <= smallDocument {
		return func() {}, nil
	}
	cutOff := func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now()) } // where the server can
	release, err = budget.Documents().Lend(r.Context(), int64(size), cutOff)
	if err != nil {
		return nil, g.answerTo(q, images.Classify(r.Context(), err), nil)
	}
	return release, nil
}

func manifestUnknown(q request) *protocolError {
	where := "at this address"
	if q.rooted {
		where = "of " + q.Image.Name
	}
	return &protocolError{codeManifestUnknown, "there is no manifest " + q.Reference + " " + where}
}

func (g *Registry) findManifest(ctx context.Context, q request) (m layout.Manifest, from images.Origin, err error) {
	if err := g.checkTag(ctx, q); err != nil {
		return m, "", err
	}
	ctx, end := g.Hooks.Resolving(ctx, "reference", q.Reference)
	defer func() { end(err) }()
	return g.Library.Manifest(ctx, q.Query)
}

// checkTag returns the answer to a tag that a plain name does not have. A mirror must
// not serve an alias as another registry's latest image when the client named no tag.
func (g *Registry) checkTag(ctx context.Context, q request) error {
	if !q.rooted || q.Literal || !layout.MayBeAlias(q.Reference) {
		return nil
	}
	if err := g.Library.Admit(q.Query, q.paths()...); err != nil {
		return err
	}
	tags, _, err := g.Library.Tags(ctx, q.Query)
	if err == nil && !slices.Contains(tags, q.Reference) {
		return manifestUnknown(q)
	}
	return err
}
