package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A remoteBlob is a blob that gateways may have.
type remoteBlob interface {
	Size(ctx context.Context) (int64, error)

	// Copy writes the blob to sink, or a part of it if part is not nil.
	Copy(ctx context.Context, part *gateway.Range, sink trustless.Sink) error
}

// A trustedBlob has the size that a gateway says, and the digest that it must.
type trustedBlob struct {
	gateway.File
	digest digest.Digest
}

// Copy implements remoteBlob.
func (b trustedBlob) Copy(ctx context.Context, part *gateway.Range, sink trustless.Sink) error {
	return b.File.Copy(ctx, b.digest, part, sink)
}

func (h *Handler) remoteBlob(q request, at layout.Place) remoteBlob {
	if h.Trust == trustGateway {
		return trustedBlob{h.file(q, at), q.digest}
	}
	b := verifiedBlob{verified{h, q}.session(), at}
	if h.filler == nil {
		return b
	}
	return filledBlob{b, h.filler, q.digest}
}

// proxyBlob answers with what gateways have.
func (h *Handler) proxyBlob(w http.ResponseWriter, r *http.Request, q request) error {
	err := h.atBlob(r.Context(), verified{h, q}, q, func(at layout.Place) error {
		if err := h.admitAt(r.Context(), q, at); err != nil {
			return err
		}
		return h.deliver(w, r, q, h.remoteBlob(q, at))
	})
	if err != nil {
		return h.failed(r.Context(), err, blobUnknown(q))
	}
	return nil
}

// deliver answers with a blob, or with what a client wants of it. An error is
// returned as long as nothing was written.
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, q request, b remoteBlob) error {
	a := &answer{w: w, r: r, digest: q.digest}
	if h.Trust != trustGateway {
		a.verified = q.cacheControl(r)
	}
	status := condition(r, etag(q.digest))
	if r.Method == http.MethodHead || status != 0 {
		return a.withoutBody(b, status)
	}
	var err error
	if a.parts, err = satisfiable(r.Context(), wantedRanges(r, etag(q.digest)), b); err == nil {
		err = a.copy(b)
	}
	if len(a.parts) > 0 && !a.started && onlyWhole(err) {
		a.parts = nil
		err = a.copy(b)
	}
	if err != nil && a.started {
		// Too late for an answer that says what is wrong: the connection is cut,
		// so that the client cannot take what it has for the whole.
		if r.Context().Err() == nil {
			h.logger.Error("blob cut off", q.fields(zap.Error(err))...)
		}
		panic(http.ErrAbortHandler)
	}
	if outside, ok := errors.AsType[gateway.RangeError](err); ok && len(a.parts) > 0 && everywhere(err, gateway.ErrRange) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", outside.Size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	return err
}

// onlyWhole reports whether a range failed because there is no gateway that
// gives parts, or because nothing has none. A client that wanted to limit the
// size takes the whole then, as http.ServeContent has it too.
func onlyWhole(err error) bool {
	if outside, ok := errors.AsType[gateway.RangeError](err); ok && outside.Size == 0 {
		return everywhere(err, gateway.ErrRange)
	}
	return errors.Is(err, gateway.ErrNoRanges)
}

// An answer is the trustless.Sink that is a client.
type answer struct {
	w       http.ResponseWriter
	r       *http.Request
	digest  digest.Digest
	parts   []gateway.Range // that are wanted, none for the whole
	started bool

	verified string // where each byte is held against a CID: the Cache-Control
}

// copy writes what is wanted of a blob.
func (a *answer) copy(b remoteBlob) error {
	switch len(a.parts) {
	case 0:
		return b.Copy(a.r.Context(), nil, a)
	case 1:
		return b.Copy(a.r.Context(), &a.parts[0], a)
	}
	return a.copyParts(b)
}

// Start implements trustless.Sink.
func (a *answer) Start(from, to, size int64) {
	a.begin(from == 0 && to == size)
	header := a.w.Header()
	header.Set("Content-Length", strconv.FormatInt(to-from, 10))
	if len(a.parts) == 0 {
		a.w.WriteHeader(http.StatusOK)
		return
	}
	header.Set("Content-Range", contentRange(from, to, size))
	a.w.WriteHeader(http.StatusPartialContent)
}

// begin sets the header of an answer with the whole, or with a part.
func (a *answer) begin(whole bool) {
	a.started = true
	setContent(a.w, a.digest, blobType)
	header := a.w.Header()
	header.Set("Accept-Ranges", "bytes")
	switch {
	case a.verified != "":
		header.Set("Cache-Control", a.verified)
	case whole:
		header.Set("Cache-Control", immutable(a.r))
	default:
		// Nobody may put a part together with others because of our word that
		// they are of the same content: that takes a strong tag.
		header.Set("Cache-Control", unchecked)
		header.Set("ETag", "W/"+etag(a.digest))
	}
}

func contentRange(from, to, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", from, to-1, size)
}

// Write implements trustless.Sink.
func (a *answer) Write(b []byte) (int, error) { return a.w.Write(b) }

// withoutBody answers HEAD, and a client whose preconditions want a status in
// place of the blob. All are told so only if there is a blob.
func (a *answer) withoutBody(b remoteBlob, status int) error {
	size, err := b.Size(a.r.Context())
	if err != nil {
		return err
	}
	setContent(a.w, a.digest, blobType)
	header := a.w.Header()
	switch {
	case a.verified != "":
		header.Set("Cache-Control", a.verified)
	case status != 0:
		header.Set("Cache-Control", immutable(a.r)) // what the client has is the blob
	default:
		header.Set("Cache-Control", unchecked)
	}
	if status != 0 {
		writeCondition(a.w, status)
		return nil
	}
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	a.w.WriteHeader(http.StatusOK)
	return nil
}

// Interface guards
var (
	_ trustless.Sink = (*answer)(nil)
	_ remoteBlob     = trustedBlob{}
	_ remoteBlob     = verifiedBlob{}
)
