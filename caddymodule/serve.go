package caddymodule

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// serve answers a request that is ours. Its error is a *registryError, which is
// an answer too, or Caddy's.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &registryError{codeUnsupported, "this registry is read-only: images come into it by the converter, and not by push"}
	}
	q, err := parseRequest(r.URL, h.namespace(r))
	if err != nil {
		return err
	}
	q.seen = observe(w, q)
	if q.kind == kindCatalog {
		return h.serveCatalog(w, r)
	}
	if q.isNamed() {
		if err := h.admitName(q); err != nil {
			return err
		}
		return h.serveNamed(w, r, q)
	}
	return h.serveImage(w, r, q)
}

// serveImage answers a request for an image whose root is known.
func (h *Handler) serveImage(w http.ResponseWriter, r *http.Request, q request) error {
	if err := h.admit(q); err != nil {
		return err
	}
	if err := h.admitResolved(r.Context(), q); err != nil {
		return err
	}
	switch q.kind {
	case kindManifest:
		if err := h.checkTag(r.Context(), q); err != nil {
			return h.explain(r.Context(), q, err)
		}
		return h.explain(r.Context(), q, h.serveManifest(w, r, q))
	case kindBlob:
		return h.serveBlob(w, r, q)
	case kindTags:
		return h.serveTags(w, r, q)
	case kindReferrers:
		return h.serveReferrers(w, r, q)
	}
	return writeJSON(w, r, http.StatusOK, []byte("{}"))
}

// setContent sets the header of every answer that is content, or about it.
func setContent(w http.ResponseWriter, d digest.Digest, mediaType string) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Docker-Content-Digest", d.String())
	header.Set("ETag", etag(d))
}

// immutable is the Cache-Control of what is known to be right. It will always be
// the same, since a CID stands in its URL.
func immutable(r *http.Request) string {
	return scope(r) + ", max-age=31536000, immutable, no-transform"
}

// cacheControl is the Cache-Control of what is proved to be at the request's path:
// below a CID for ever, below a name for as long as that stands for the CID, and
// below the root until another is configured. That a blob has the digest it goes
// by, only its publisher says.
func (q request) cacheControl(r *http.Request) string {
	switch {
	case q.isNamed():
		return until(r, q.expires)
	case q.rooted:
		return revalidated(r)
	}
	return immutable(r)
}

// revalidated is the Cache-Control of what may be something else the next time: by
// the configuration, or because a gateway lied. A client's own copy is of use if it
// still is what is there.
func revalidated(r *http.Request) string { return scope(r) + ", no-cache, no-transform" }

// unchecked is the Cache-Control of what a gateway may have lied about. In a
// cache, a lie would go on for longer than the gateway does, to more clients,
// and no second try would help.
const unchecked = "no-store, no-transform"

func scope(r *http.Request) string {
	if authorised(r) {
		return "private"
	}
	return "public"
}

func etag(d digest.Digest) string { return `"` + d.String() + `"` }

// authorised reports whether the client may have shown credentials, by its own
// account or by that of a handler before this one.
func authorised(r *http.Request) bool {
	if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return true
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	_, user := repl.Get("http.auth.user.id")
	return user
}

// clientClosedRequest is the status of what nobody waits for any more, as
// reverse_proxy has it.
const clientClosedRequest = 499

// unanswered makes the error for a client out of one of the store or of the
// gateways: notFound where the thing is nowhere, Caddy's error where that
// cannot be known.
func unanswered(ctx context.Context, err error, notFound *registryError) error {
	switch {
	case ctx.Err() != nil:
		return caddyhttp.Error(clientClosedRequest, err)
	case everywhere(err, fs.ErrNotExist):
		return notFound
	case isContentError(err) && notFound.code == codeManifestUnknown:
		return &registryError{codeManifestInvalid, err.Error()}
	case isContentError(err):
		return caddyhttp.Error(http.StatusBadGateway, err)
	case !asked(err):
		return caddyhttp.Error(http.StatusInternalServerError, err)
	case everywhere(err, gateway.ErrStalled):
		return caddyhttp.Error(http.StatusGatewayTimeout, err)
	}
	return caddyhttp.Error(http.StatusBadGateway, err)
}

// asked reports whether err is the gateways'.
func asked(err error) bool {
	_, ok := errors.AsType[gateway.Error](err)
	return ok
}

// everywhere reports whether err is target: at every gateway if any was asked,
// and under every name if there were several.
func everywhere(err, target error) bool {
	switch err := err.(type) {
	case gateway.Error:
		return err.All(target)
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			if !everywhere(e, target) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return errors.Is(err.(error), target) && everywhere(err.Unwrap(), target)
	}
	return errors.Is(err, target)
}

// file is what the gateways may have at a place.
func (h *Handler) file(q request, at layout.Place) gateway.File {
	q.seen.from(sourceGateway)
	return gateway.File{Pool: h.pool, Root: at.Root, Path: at.Path, Failed: func(f gateway.Failure) {
		h.logFailure(q, f)
	}}
}

// logFailure logs a gateway's failure as loudly as it matters: false content is for
// somebody to look at, that a gateway does not have something is daily life.
func (h *Handler) logFailure(q request, f gateway.Failure) {
	level, message := zap.DebugLevel, "gateway did not answer"
	switch {
	case errors.Is(f.Err, trustless.ErrMismatch) && h.Trust != trustGateway:
		level, message = zap.ErrorLevel, "gateway sent false content"
	case errors.Is(f.Err, trustless.ErrMismatch):
		// Whose fault it is, the gateway's or that of who published it, only a
		// proof by the DAG could tell.
		level, message = zap.ErrorLevel, "content does not have its digest"
	case f.Strike:
		level, message = zap.WarnLevel, "gateway failed"
	}
	if c := h.logger.Check(level, message); c != nil {
		c.Write(q.fields(zap.String("gateway", f.Gateway), zap.Error(f.Err))...)
	}
}
