package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
)

// beginUpload begins an upload. In its query, a client may ask to mount a blob of another
// repository in place of it, or send the whole blob at once.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs
func (g *Registry) beginUpload(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	query := r.URL.Query()
	switch {
	case query.Has("mount"):
		d, err := digestIn(r, "mount")
		if err != nil {
			return err
		}
		mounted, err := g.mount(r, q, repo, d, query.Get("from"))
		if err != nil {
			return err
		}
		if mounted {
			created(w, r, q, d)
			return nil
		}
	case query.Has("digest"):
		return inTurn((*Registry).uploadAtOnce)(g, w, r, q, repo)
	}
	up, err := repo.Begin(r.Context())
	if err != nil {
		return g.answerToPush(r, q, err)
	}
	describe(w, r, q, up)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// uploadAtOnce makes a blob of the request's body.
func (g *Registry) uploadAtOnce(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	if _, err := digestIn(r, "digest"); err != nil {
		return err
	}
	up, err := repo.Begin(r.Context())
	if err != nil {
		return g.answerToPush(r, q, err)
	}
	q.upload = up.ID
	if err := g.finishUpload(w, r, q, repo); err != nil {
		_ = repo.Cancel(context.WithoutCancel(r.Context()), up.ID) // an upload that stays is removed after a day
		return err
	}
	return nil
}

// tellUpload tells the client where to continue an upload.
func (g *Registry) tellUpload(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	up, err := repo.Upload(r.Context(), q.upload)
	if err != nil {
		return g.answerToPush(r, q, err)
	}
	describe(w, r, q, up)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// continueUpload appends the request's body to an upload.
func (g *Registry) continueUpload(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	up, err := g.receive(w, r, q, repo)
	if err != nil {
		return err
	}
	describe(w, r, q, up)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// finishUpload appends the request's body to an upload, if there is one, and makes a blob
// of the upload.
func (g *Registry) finishUpload(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	d, err := digestIn(r, "digest")
	if err != nil {
		return err
	}
	if r.ContentLength != 0 {
		if _, err := g.receive(w, r, q, repo); err != nil {
			return err
		}
	}
	if err := repo.Finish(r.Context(), q.upload, d); err != nil {
		return g.answerToPush(r, q, err)
	}
	if err := g.admitBlob(r, q, repo, d); err != nil {
		return err
	}
	created(w, r, q, d)
	return nil
}

func (g *Registry) cancelUpload(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	if err := repo.Cancel(r.Context(), q.upload); err != nil {
		return g.answerToPush(r, q, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// receive appends the request's body to an upload. It tells the client how far the upload
// has come if the body does not begin there.
func (g *Registry) receive(w http.ResponseWriter, r Request, q request, repo *repository.Repository) (repository.Upload, error) {
	part, err := contentRangeOf(r)
	if err != nil {
		return repository.Upload{}, err
	}
	if limit := g.Push.MaxBlob; limit > 0 && r.ContentLength > limit {
		return repository.Upload{}, g.answerToPush(r, q, &repository.TooLargeError{What: "blob", Limit: limit})
	}
	b := newBody(w, r, part.size)
	defer b.end()
	end := g.Hooks.Receiving()
	up, err := repo.Append(r.Context(), q.upload, part.offset, b)
	if err != nil {
		err = g.answerToPush(r, q, err)
	}
	end(b.received, resultOf(err))
	if answer, ok := errors.AsType[*protocolError](err); ok && answer.code == codeUploadRange {
		describe(w, r, q, up)
	}
	return up, err
}

// admitBlob removes a blob again that the lists refuse.
func (g *Registry) admitBlob(r Request, q request, repo *repository.Repository, d digest.Digest) error {
	if !g.Library.HasLists() {
		return nil
	}
	f, err := repo.Blob(r.Context(), d)
	if err != nil {
		return g.answerToPush(r, q, err)
	}
	defer f.Close()
	denied := g.Library.AdmitContent(f.CID)
	if denied == nil {
		return nil
	}
	if _, err := repo.DeleteBlob(r.Context(), d); err != nil {
		return g.answerToPush(r, q, err)
	}
	return g.answerTo(q, denied, nil)
}

// created answers that the repository has a blob now.
func created(w http.ResponseWriter, r Request, q request, d digest.Digest) {
	header := w.Header()
	header.Set("Location", q.location(r, "/blobs/"+d.String()))
	header.Set("Docker-Content-Digest", d.String())
	header.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}

// describe sets the header fields that say where an upload is and how far it has come.
func describe(w http.ResponseWriter, r Request, q request, up repository.Upload) {
	header := w.Header()
	header.Set("Location", q.location(r, uploads+"/"+up.ID))
	header.Set("Range", "0-"+strconv.FormatInt(max(0, up.Size-1), 10)) // as all registries say of no byte
	header.Set("Docker-Upload-UUID", up.ID)
	header.Set("Content-Length", "0")
	header.Set("Cache-Control", uncacheable)
}

// digestIn reads a digest in the query of a request.
func digestIn(r Request, key string) (digest.Digest, error) {
	s := r.URL.Query().Get(key)
	if s == "" {
		return "", &protocolError{codeDigestInvalid, "the query names no digest"}
	}
	d, err := layout.ParseDigest(s)
	if err != nil {
		return "", &protocolError{codeDigestInvalid, err.Error()}
	}
	return d, nil
}

// A chunk is where the body of a request begins in an upload, and how many bytes it has.
// Either is -1 if the request does not say.
type chunk struct{ offset, size int64 }

var contentRangePattern = regexp.MustCompile(`^([0-9]{1,18})-([0-9]{1,18})$`)

// contentRangeOf reads the Content-Range of a request, which is not that of HTTP.
func contentRangeOf(r Request) (chunk, error) {
	said := r.Header.Get("Content-Range")
	if said == "" {
		return chunk{-1, -1}, nil
	}
	words := contentRangePattern.FindStringSubmatch(said)
	if words == nil {
		return chunk{}, &protocolError{codeUploadInvalid, fmt.Sprintf("Content-Range is <first byte>-<last byte>, not %.40q", said)}
	}
	first, _ := strconv.ParseInt(words[1], 10, 64) // the pattern fits
	last, _ := strconv.ParseInt(words[2], 10, 64)
	size := last - first + 1
	if size < 1 || r.ContentLength >= 0 && r.ContentLength != size {
		return chunk{}, &protocolError{codeSizeInvalid, fmt.Sprintf("Content-Range is %s, and Content-Length is %d", said, r.ContentLength)}
	}
	return chunk{first, size}, nil
}
