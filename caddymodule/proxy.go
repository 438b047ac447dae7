package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// proxyBlob answers with what gateways have.
func (h *Handler) proxyBlob(w http.ResponseWriter, r *http.Request, q request) error {
	f := h.file(q, layout.BlobPath(q.image.Name, q.digest))
	status := condition(r, etag(q.digest))
	if r.Method == http.MethodHead || status != 0 {
		return withoutBody(w, r, q, f, status)
	}
	a := &answer{w: w, r: r, digest: q.digest}
	if ranges := wantedRanges(r, etag(q.digest)); len(ranges) == 1 { // any others may be ignored
		a.part = &ranges[0]
	}
	err := f.Copy(r.Context(), q.digest, a.part, a)
	if a.part != nil && !a.started && onlyWhole(err) {
		a.part = nil
		err = f.Copy(r.Context(), q.digest, nil, a)
	}
	if err == nil {
		return nil
	}
	if a.started {
		// Too late for an answer that says what is wrong: the connection is cut,
		// so that the client cannot take what it has for the whole.
		if r.Context().Err() == nil {
			h.logger.Error("blob cut off", q.fields(zap.Error(err))...)
		}
		panic(http.ErrAbortHandler)
	}
	if outside, ok := errors.AsType[trustless.RangeError](err); ok && a.part != nil && everywhere(err, trustless.ErrRange) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", outside.Size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	return unanswered(r.Context(), err, blobUnknown(q))
}

// onlyWhole reports whether a range failed because there is no gateway that
// gives parts, or because nothing has none. A client that wanted to limit the
// size takes the whole then, as http.ServeContent has it too.
func onlyWhole(err error) bool {
	if outside, ok := errors.AsType[trustless.RangeError](err); ok && outside.Size == 0 {
		return everywhere(err, trustless.ErrRange)
	}
	return errors.Is(err, trustless.ErrNoRanges)
}

// An answer is the trustless.Sink that is a client.
type answer struct {
	w       http.ResponseWriter
	r       *http.Request
	digest  digest.Digest
	part    *trustless.Range // that was asked for, nil for the whole
	started bool

	verified string // where each byte is held against a CID: the Cache-Control
}

// Start implements trustless.Sink.
func (a *answer) Start(from, to, size int64) {
	a.started = true
	setContent(a.w, a.digest, blobType)
	header := a.w.Header()
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Length", strconv.FormatInt(to-from, 10))
	switch whole := from == 0 && to == size; {
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
	if a.part == nil {
		a.w.WriteHeader(http.StatusOK)
		return
	}
	header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
	a.w.WriteHeader(http.StatusPartialContent)
}

// Write implements trustless.Sink.
func (a *answer) Write(b []byte) (int, error) { return a.w.Write(b) }

// withoutBody answers HEAD, and a client whose preconditions want a status in
// place of the blob. All are told so only if there is a blob.
func withoutBody(w http.ResponseWriter, r *http.Request, q request, f trustless.File, status int) error {
	size, err := f.Size(r.Context())
	if err != nil {
		return unanswered(r.Context(), err, blobUnknown(q))
	}
	setContent(w, q.digest, blobType)
	header := w.Header()
	if status != 0 {
		header.Set("Cache-Control", immutable(r)) // what the client has is the blob
		writeCondition(w, status)
		return nil
	}
	header.Set("Cache-Control", unchecked)
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

var _ trustless.Sink = (*answer)(nil)
