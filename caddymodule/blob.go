package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// blobType is the media type of all blobs. What they are, manifests say.
const blobType = "application/octet-stream"

// serveBlob answers from the store, or else in the way that is configured.
func (h *Handler) serveBlob(w http.ResponseWriter, r *http.Request, q request) error {
	f, err := fromStores(h, q, func(s *store.Store) (storedBlob, error) { return h.openBlob(r.Context(), s, q) })
	if h.filler != nil {
		countLook(cacheBlobs, err == nil)
	}
	if err == nil {
		defer f.Close()
		if err := h.admitAt(r.Context(), q, f.at); err != nil {
			return h.failed(r.Context(), err, blobUnknown(q))
		}
		setContent(w, q.digest, blobType)
		w.Header().Set("Cache-Control", immutable(r))
		serveContent(w, r, q.digest, f.File.File)
		return nil
	}
	switch {
	case h.redirect != nil:
		return h.redirectBlob(w, r, q)
	case h.pool != nil:
		return h.proxyBlob(w, r, q)
	}
	return unanswered(r.Context(), err, blobUnknown(q))
}

func blobUnknown(q request) *registryError {
	return &registryError{codeBlobUnknown, "there is no blob " + q.digest.String() + " at this address"}
}

// A storedBlob is a blob in the store.
type storedBlob struct {
	*store.File
	at layout.Place
}

func (h *Handler) openBlob(ctx context.Context, s *store.Store, q request) (b storedBlob, err error) {
	err = h.atBlob(ctx, stored{s}, q, func(at layout.Place) (err error) {
		b.at = at
		b.File, err = openAt(ctx, s, at, q.digest)
		return err
	})
	return b, err
}

// openAt opens the blob at a place in the store. What stands under the digest's
// name in a directory need not have that digest, since anybody can publish
// directories; the store knows the digest that it has.
func openAt(ctx context.Context, s *store.Store, at layout.Place, d digest.Digest) (*store.File, error) {
	f, err := s.Open(ctx, at.Root, at.Path)
	if err != nil {
		return nil, err
	}
	right, err := isDigestOf(d, f)
	if err == nil && !right {
		err = fmt.Errorf("blob %s: %w, which is %s", d, layout.ErrDigest, f.Digest)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// isDigestOf reads the file where it is asked for by another digest than the
// store has, which is sha256.
func isDigestOf(d digest.Digest, f *store.File) (bool, error) {
	if d.Algorithm() == f.Digest.Algorithm() {
		return f.Digest == d, nil
	}
	got, err := d.Algorithm().FromReader(f)
	if err != nil {
		return false, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return got == d, err
}

// fileWriter lets http.ServeContent end in sendfile(2). The standard library
// takes that path for a file behind one io.LimitedReader, of which ServeContent
// and Caddy's idle timeout make two. A limit at the end of the file is none, so
// it is taken off.
type fileWriter struct{ http.ResponseWriter }

func (w fileWriter) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if f, ok := limited.R.(*os.File); ok && isRest(f, limited.N) {
			r = f
		}
	}
	return io.Copy(w.ResponseWriter, r)
}

// Unwrap is for http.ResponseController.
func (w fileWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// isRest reports whether n bytes are what is left to read of f.
func isRest(f *os.File, n int64) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return err == nil && at+n == info.Size()
}

// redirectBlob sends the client to a gateway, with the status that other
// registries use for that and all clients follow. Where to may change with the
// configuration, so the answer is not to be kept.
func (h *Handler) redirectBlob(w http.ResponseWriter, r *http.Request, q request) error {
	at, err := h.locate(r.Context(), q)
	if err == nil {
		err = h.admitAt(r.Context(), q, at)
	}
	if err != nil {
		return h.failed(r.Context(), err, blobUnknown(q))
	}
	header := w.Header()
	header.Set("Location", gatewayURL(h.redirect, at).String())
	header.Set("Cache-Control", "no-store")
	header.Set("Docker-Content-Digest", q.digest.String())
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

func gatewayURL(gateway *url.URL, at layout.Place) *url.URL {
	u := *gateway
	u.Path = path.Join("/", u.Path, "ipfs", at.String())
	return &u
}
