package registry

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// maxTags is how many tags one request may give to a manifest, beside the one in its path.
const maxTags = 100

// putManifest stores a manifest, and tells the client the address that its repository has
// on IPFS now.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
func (g *Registry) putManifest(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	tags, err := tagsOf(r, q)
	if err != nil {
		return err
	}
	data, release, err := g.readManifest(w, r, q)
	if err != nil {
		return err
	}
	defer release()
	if err := g.admitManifest(q, data); err != nil {
		return err
	}
	end := g.Hooks.Changing()
	put, err := repo.PutManifest(r.Context(), repository.Manifest{Reference: q.Reference, Tags: tags, MediaType: mediaTypeOf(r), Data: data})
	if err != nil {
		err = g.answerToPush(r, q, err)
	}
	if end(resultOf(err)); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Location", q.location(r, "/manifests/"+put.Digest.String()))
	header.Set("Docker-Content-Digest", put.Digest.String())
	header.Set("Content-Length", "0")
	if put.Subject != "" {
		header.Set("OCI-Subject", put.Subject.String())
	}
	for _, tag := range tags {
		header.Add("OCI-Tag", tag)
	}
	g.tellAddress(w, r, q, put, tags)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// tagsOf returns the tags in the query of a manifest that is pushed by digest. It refuses
// tags that could not be pulled.
func tagsOf(r Request, q request) ([]string, error) {
	tags := slices.Compact(slices.Sorted(slices.Values(r.URL.Query()["tag"])))
	if len(tags) > 0 && q.Digest == "" {
		return nil, &protocolError{codeBadQuery, "tags in the query need a digest in the path"}
	}
	if len(tags) > maxTags {
		return nil, &protocolError{codeBadQuery, fmt.Sprintf("%d tags, more than %d", len(tags), maxTags)}
	}
	for _, tag := range tags {
		if err := layout.CheckTag(tag); err != nil {
			return nil, &protocolError{codeManifestInvalid, err.Error()}
		}
	}
	for _, reference := range append(tags, q.Reference) {
		if layout.IsReservedTag(reference) {
			return nil, &protocolError{codeNotAllowed, fmt.Sprintf("the tag %s is reserved for images of image2ipfs: choose another one", reference)}
		}
	}
	return tags, nil
}

// mediaTypeOf returns the media type of a request's body, without parameters.
func mediaTypeOf(r Request) string {
	said := r.Header.Get("Content-Type")
	if mediaType, _, err := mime.ParseMediaType(said); err == nil {
		return mediaType
	}
	return said
}

// readManifest reads the body of a request. The caller must call release when it does not
// need the manifest any more.
func (g *Registry) readManifest(w http.ResponseWriter, r Request, q request) (data []byte, release func(), err error) {
	tooLarge := func() error {
		return g.answerToPush(r, q, &repository.TooLargeError{What: "manifest", Limit: layout.MaxManifest})
	}
	size := r.ContentLength
	if size > layout.MaxManifest {
		return nil, nil, tooLarge()
	}
	if size < 0 {
		size = layout.MaxManifest
	}
	b := newBody(w, r, -1)
	release, err = g.holdBody(r, q, b, size)
	if err != nil {
		return nil, nil, err
	}
	defer b.end()
	data, err = io.ReadAll(io.LimitReader(b, layout.MaxManifest+1))
	switch {
	case err != nil:
		err = answerToBody(err, err)
	case len(data) > layout.MaxManifest:
		err = tooLarge()
	default:
		return data, release, nil
	}
	release()
	return nil, nil, err
}

// holdBody takes the memory for a body of size bytes. If other requests need the memory, a
// client that sends the body slowly is let go of.
func (g *Registry) holdBody(r Request, q request, b *body, size int64) (release func(), err error) {
	if size <= smallDocument {
		return func() {}, nil
	}
	release, err = budget.Documents().Lend(r.Context(), size, b.cutOff)
	if err != nil {
		return nil, g.answerTo(q, images.Classify(r.Context(), err), nil)
	}
	return release, nil
}

// admitManifest returns the answer to a manifest that the deny lists name.
func (g *Registry) admitManifest(q request, data []byte) error {
	if !g.Library.HasLists() {
		return nil
	}
	cutter := unixfs.V1.NewCutter()
	cutter.Write(data)
	f, err := unixfs.V1.Layout(cutter.Table())
	if err != nil {
		return err
	}
	if err := g.Library.AdmitContent(f.CID); err != nil {
		return g.answerTo(q, err, nil)
	}
	return nil
}

// tellAddress tells everybody who wants to know where what was pushed is on IPFS. Clients
// show or log warnings.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#warnings
func (g *Registry) tellAddress(w http.ResponseWriter, r Request, q request, put repository.Put, more []string) {
	address := referenceAt(put.Address, q)
	setPath(w, put.Address)
	warn(w, "on IPFS this is "+path.Join(r.Host, address))
	tags := more
	if q.Digest == "" {
		tags = append([]string{q.Reference}, more...)
	}
	g.Hooks.Pushed(Pushed{
		Repository: q.Image.Name, Tags: tags, Digest: put.Digest, MediaType: mediaTypeOf(r),
		Address: put.Address, State: put.State, User: r.User,
	})
	if r.Observation != nil {
		subject := q.subject()
		subject.Address = address
		r.Observation.Asked(subject)
	}
}

// referenceAt returns the reference of the requested manifest below a root, without the
// host.
func referenceAt(root cid.Cid, q request) string {
	name, err := cidname.Format(root)
	if err != nil {
		name = root.String()
	}
	separator := ":"
	if q.Digest != "" {
		separator = "@"
	}
	return path.Join(name, q.Image.Name) + separator + q.Reference
}

// warn adds a warning to an answer. It has no characters that would have to be quoted.
func warn(w http.ResponseWriter, text string) {
	w.Header().Add("Warning", `299 - "`+strings.NewReplacer(`"`, "", `\`, "").Replace(text)+`"`)
}

// deleteManifest removes a tag, or a manifest with all its tags.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#deleting-manifests
func (g *Registry) deleteManifest(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	return g.remove(w, r, q, func(ctx context.Context) (repository.Change, error) {
		if q.Digest != "" {
			return repo.DeleteManifest(ctx, q.Digest)
		}
		return repo.DeleteTag(ctx, q.Reference)
	})
}

// deleteBlob removes a blob from a repository.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#deleting-blobs
func (g *Registry) deleteBlob(w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
	return g.remove(w, r, q, func(ctx context.Context) (repository.Change, error) { return repo.DeleteBlob(ctx, q.Digest) })
}

// remove answers a DELETE. It says for how long addresses can still be pulled that were
// told before.
func (g *Registry) remove(w http.ResponseWriter, r Request, q request, do func(context.Context) (repository.Change, error)) error {
	end := g.Hooks.Changing()
	change, err := do(r.Context())
	if err != nil {
		err = g.answerToPush(r, q, err)
	}
	if end(resultOf(err)); err != nil {
		return err
	}
	if keep, err := g.Push.To.Root().Keep(); err == nil && change.Changed && keep > 0 {
		warn(w, "this can be pulled by its address for "+days(keep)+" more, and for ever where it was published")
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// days returns a duration in days if it has a whole number of them.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day != 0 {
		return d.String()
	}
	return fmt.Sprintf("%d days", d/day)
}
