package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"

	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// serveBlob answers with a blob, or, where blobs are redirected, with the place that
// the client can fetch it from.
func (g *Registry) serveBlob(w http.ResponseWriter, r Request, q request) error {
	redirects := g.Redirect != nil && !q.Own
	if redirects {
		q.Only = images.FromStore
	}
	err := g.Library.Blob(r.Context(), q.Query, func(from images.Origin, b images.Blob) error {
		r.from(from)
		return g.deliver(w, r, q, from, b)
	})
	if redirects && mayBeAtGateway(err) {
		q.Only = ""
		return g.redirectBlob(w, r, q)
	}
	return g.answerTo(q, err, blobUnknown(q))
}

func blobUnknown(q request) *protocolError {
	return &protocolError{codeBlobUnknown, "there is no blob " + q.Digest.String() + " at this address"}
}

// mayBeAtGateway reports whether a store's error says nothing about gateways.
func mayBeAtGateway(err error) bool {
	e, ok := errors.AsType[*images.Error](err)
	return ok && (e.Class == images.Lacking || e.Class == images.Fault)
}

// redirectBlob sends the client to a gateway, with the status that other registries use
// and all clients follow. The configuration may name another gateway tomorrow, so the
// answer is not to be kept.
func (g *Registry) redirectBlob(w http.ResponseWriter, r Request, q request) error {
	at, err := g.Library.Locate(r.Context(), q.Query)
	if err != nil {
		return g.answerTo(q, err, blobUnknown(q))
	}
	header := w.Header()
	header.Set("Location", gatewayURL(g.Redirect, at).String())
	header.Set("Cache-Control", "no-store")
	header.Set("Docker-Content-Digest", q.Digest.String())
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

func gatewayURL(gateway *url.URL, at layout.Place) *url.URL {
	u := *gateway
	u.Path = path.Join("/", u.Path, "ipfs", at.String())
	return &u
}

// deliver answers with a blob, or with the parts of it that a client wants. It returns
// an error only if nothing was written.
func (g *Registry) deliver(w http.ResponseWriter, r Request, q request, from images.Origin, b images.Blob) error {
	d := &delivery{w: w, r: r, q: q, cache: q.cacheControl(r)}
	if from == images.FromStore { // which knows that the digest is right
		d.cache = q.immutable(r, q.Digest.String())
	}
	status := condition(r, etagOf(q.Digest))
	if r.Method == http.MethodHead || status != 0 {
		return d.withoutBody(b, status)
	}
	ranges, err := satisfiable(r.Context(), wantedRanges(r, etagOf(q.Digest)), b)
	if from == images.FromGateway {
		d.maxGap = gatewayGap
		if !isAffordable(ranges) {
			ranges = nil
		}
	}
	if err == nil {
		err = d.copy(b, ranges)
	}
	outside, isOutside := errors.AsType[gateway.RangeError](err)
	switch {
	case err == nil:
		return nil
	case d.started:
		if r.Context().Err() == nil && !d.isLeft {
			g.Logger.Error("blob cut off", q.Fields(zap.Error(err))...)
		}
		// It is too late for an error in the protocol's form. A closed connection keeps the
		// client from taking what it has for the whole blob.
		panic(http.ErrAbortHandler)
	case isOutside && outside.Size == 0: // no range is within an empty blob
		d.isPart = false
		return d.copy(b, nil)
	case isOutside:
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", outside.Size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	return err
}
