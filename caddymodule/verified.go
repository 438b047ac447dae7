package caddymodule

import (
	"context"
	"errors"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
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
	v.seen.from(sourceGateway)
	return trustless.Session{Client: v.client, Failed: func(f gateway.Failure) { v.logFailure(v.request, f) }}
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
	q.seen.from(sourceGateway)
	if m, known := h.manifests.get(key); known {
		return m, nil
	}
	m, err := h.findIn(ctx, verified{h, q}, q)
	if err != nil {
		return layout.Manifest{}, proven(err)
	}
	h.manifests.add(key, m)
	h.prefetch(q, m)
	return m, nil
}

// proven tells what gateways failed to do from what they proved.
func proven(err error) error {
	if err == nil || asked(err) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return contentError{err}
}

// failed makes the answer to a client out of an error, which may be one.
func (h *Handler) failed(ctx context.Context, err error, notFound *registryError) error {
	if answer, ok := errors.AsType[*registryError](err); ok {
		return answer
	}
	if h.pool != nil {
		err = proven(err)
	}
	return unanswered(ctx, err, notFound)
}

// A verifiedBlob is a blob each leaf of which is held against the CID that names
// it. That the whole has the digest it goes by, which its publisher may have got
// wrong, is for clients to see, as they do anyway.
type verifiedBlob struct {
	session trustless.Session
	at      layout.Place
}

// Size implements remoteBlob.
func (b verifiedBlob) Size(ctx context.Context) (int64, error) {
	return b.session.Stat(ctx, b.at.Root, b.at.Path)
}

// Copy implements remoteBlob.
func (b verifiedBlob) Copy(ctx context.Context, part *gateway.Range, sink trustless.Sink) error {
	return b.session.Copy(ctx, b.at.Root, b.at.Path, part, sink)
}

var _ layout.Tree = verified{}
