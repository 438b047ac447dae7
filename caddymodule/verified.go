package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/ipfs/go-cid"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// How much gateways are trusted.
const (
	trustVerified = "verified"
	trustGateway  = "gateway"
)

// A contentError is about what a CID names, which is wrong in itself, whoever
// has it.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }

func isContentError(err error) bool {
	_, is := errors.AsType[contentError](err)
	return is
}

// verified is the layout.Tree of what gateways have and proved, for one request.
type verified struct {
	*Handler
	request
}

func (v verified) session() trustless.Session {
	return trustless.Session{Client: v.client, Failed: func(f trustless.Failure) { v.logFailure(v.request, f) }}
}

// ReadFile implements layout.Tree.
func (v verified) ReadFile(ctx context.Context, root cid.Cid, p string, limit int64) ([]byte, error) {
	return v.session().ReadFile(ctx, root, p, limit)
}

// ReadDir implements layout.Tree.
func (v verified) ReadDir(ctx context.Context, root cid.Cid, p string) (map[string]cid.Cid, error) {
	return v.session().ReadDir(ctx, root, p)
}

// findVerified returns a manifest that the image's directory names.
func (h *Handler) findVerified(ctx context.Context, q request) (layout.Manifest, error) {
	key := manifestKey{q.image, q.reference}
	if m, known := h.manifests.get(key); known {
		return m, nil
	}
	m, err := layout.FindManifest(ctx, verified{h, q}, q.image, q.reference)
	if err != nil {
		return layout.Manifest{}, proven(err)
	}
	h.manifests.add(key, m)
	return m, nil
}

// proven tells what gateways failed to do from what they proved.
func proven(err error) error {
	if err == nil || asked(err) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return contentError{err}
}

// verifiedBlob answers with what gateways have, each leaf of which was held
// against the CID that names it. That the whole has the digest it goes by, which
// its publisher may have got wrong, is for clients to see, as they do anyway.
func (h *Handler) verifiedBlob(w http.ResponseWriter, r *http.Request, q request) error {
	session := verified{h, q}.session()
	at := layout.BlobPath(q.image.Name, q.digest)
	status := condition(r, etag(q.digest))
	if r.Method == http.MethodHead || status != 0 {
		f, err := session.Stat(r.Context(), q.image.Root, at)
		if err != nil {
			return unanswered(r.Context(), proven(err), blobUnknown(q))
		}
		setContent(w, q.digest, blobType)
		w.Header().Set("Cache-Control", q.cacheControl(r))
		if status != 0 {
			writeCondition(w, status)
			return nil
		}
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", strconv.FormatInt(f, 10))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	a := &answer{w: w, r: r, digest: q.digest, verified: q.cacheControl(r)}
	if ranges := wantedRanges(r, etag(q.digest)); len(ranges) == 1 { // any others may be ignored
		a.part = &ranges[0]
	}
	err := session.Copy(r.Context(), q.image.Root, at, a.part, a)
	outside, isRange := errors.AsType[trustless.RangeError](err)
	if isRange && outside.Size == 0 { // nothing has no part, and is given whole
		a.part = nil
		err = session.Copy(r.Context(), q.image.Root, at, nil, a)
		isRange = false
	}
	switch {
	case err == nil:
		return nil
	case a.started:
		// Too late for an answer that says what is wrong: the connection is cut,
		// so that the client cannot take what it has for the whole.
		if r.Context().Err() == nil {
			h.logger.Error("blob cut off", q.fields(zap.Error(err))...)
		}
		panic(http.ErrAbortHandler)
	case isRange:
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", outside.Size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	return unanswered(r.Context(), proven(err), blobUnknown(q))
}

var _ layout.Tree = verified{}
