package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// proxyBlob answers with what gateways have.
func (h *Handler) proxyBlob(w http.ResponseWriter, r *http.Request, q request) error {
	f := h.file(q, layout.BlobPath(q.image.Name, q.digest))
	a := &answer{w: w, part: wantedRange(r, etag(q.digest)), header: func() { setImmutable(w, r, q.digest, blobType) }}
	unchanged := matchesETag(r.Header.Get("If-None-Match"), etag(q.digest))
	if r.Method == http.MethodHead || unchanged {
		return a.withoutBody(r, q, f, unchanged)
	}
	err := f.Copy(r.Context(), q.digest, a.part, a)
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
	if outside, ok := errors.AsType[trustless.RangeError](err); ok && everywhere(err, trustless.ErrRange) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", outside.Size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	return unanswered(r.Context(), err, blobUnknown(q))
}

// wantedRange returns the part of a blob that the client wants, nil for all of
// it. A client that has another blob than this, by If-Range, wants all.
func wantedRange(r *http.Request, etag string) *trustless.Range {
	if valid := r.Header.Get("If-Range"); valid != "" && valid != etag {
		return nil
	}
	part, ok := trustless.ParseRange(r.Header.Get("Range"))
	if !ok {
		return nil
	}
	return &part
}

// matchesETag reports whether an If-None-Match header names the entity tag.
func matchesETag(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// An answer is the trustless.Sink that is a client.
type answer struct {
	w       http.ResponseWriter
	part    *trustless.Range // that was asked for, nil for the whole
	header  func()           // sets what every good answer has
	started bool
}

// Start implements trustless.Sink.
func (a *answer) Start(from, to, size int64) {
	a.started = true
	a.header()
	header := a.w.Header()
	header.Set("Accept-Ranges", "bytes")
	if size >= 0 {
		header.Set("Content-Length", strconv.FormatInt(to-from, 10))
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

// withoutBody answers HEAD, and a client that has the blob already. Both are
// told so only if there is a blob.
func (a *answer) withoutBody(r *http.Request, q request, f trustless.File, unchanged bool) error {
	size, err := f.Size(r.Context())
	if err != nil {
		return unanswered(r.Context(), err, blobUnknown(q))
	}
	if !unchanged {
		a.part = nil // HEAD has no ranges
		a.Start(0, size, size)
		return nil
	}
	a.header()
	a.w.Header().Del("Content-Type")
	a.w.WriteHeader(http.StatusNotModified)
	return nil
}

var _ trustless.Sink = (*answer)(nil)
