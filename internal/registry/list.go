package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// serveTags lists the tags of an image.
func (g *Registry) serveTags(w http.ResponseWriter, r Request, q request) error {
	tags, from, err := g.tags(r.Context(), q)
	if err != nil {
		return g.explainImage(r.Context(), q, g.answerTo(q, err, imageUnknown))
	}
	if tags, err = pageOf(w, r, tags); err != nil {
		return err
	}
	r.from(from)
	return g.serveDocument(w, r, q, "application/json", q.cacheControl(r), struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{q.repository, notNil(tags)})
}

// serveReferrers lists the manifests whose subject is the requested one: signatures and
// bills of materials, say. Where there is no image, the list is empty: clients would
// take a 404 for a registry that does not know referrers.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
func (g *Registry) serveReferrers(w http.ResponseWriter, r Request, q request) error {
	referrers, from, err := g.Library.Referrers(r.Context(), q.Query)
	cache := q.cacheControl(r)
	if err != nil {
		if err = g.answerTo(q, err, imageUnknown); !isNotFound(err) {
			return err
		}
		cache = revalidated(r) // a store may have them later
	}
	r.from(from)
	if wanted := r.URL.Query().Get("artifactType"); wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
		referrers = slices.DeleteFunc(referrers, func(d v1.Descriptor) bool { return d.ArtifactType != wanted })
	}
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: notNil(referrers)}
	index.SchemaVersion = 2
	return g.serveDocument(w, r, q, v1.MediaTypeImageIndex, cache, index)
}

// serveCatalog lists the images that were converted into the stores, and those below
// the root. All of IPFS cannot be listed.
func (g *Registry) serveCatalog(w http.ResponseWriter, r Request) error {
	if !g.Catalog {
		return &protocolError{codeNotOffered, "images are listed only where this registry's option `catalog` is on"}
	}
	all := g.Library.Kept(r.Context())
	if g.Root != nil {
		below, err := g.plainNames(r.Context())
		if err != nil {
			return g.answerTo(request{kind: kindCatalog}, err, imageUnknown)
		}
		all = append(all, below...)
	}
	slices.Sort(all)
	all, err := pageOf(w, r, slices.Compact(all))
	if err != nil {
		return err
	}
	return g.serveDocument(w, r, request{kind: kindCatalog}, "application/json", revalidated(r), struct {
		Repositories []string `json:"repositories"`
	}{notNil(all)})
}

// plainNames returns the names of the images below the root, without those that the lists
// refuse by the root's name, or by a name that it leads through.
func (g *Registry) plainNames(ctx context.Context) ([]string, error) {
	if g.Root.Own != nil {
		return g.ownNames(ctx)
	}
	if !g.Root.IsName() {
		return g.Library.Names(ctx, images.Query{Image: layout.Image{Root: g.Root.CID}})
	}
	way := []names.Step{{Name: g.Root.Name}}
	if !g.admits(way, "") {
		return nil, nil
	}
	found, err := g.resolve(ctx, g.Root.Name)
	if err != nil {
		return nil, err
	}
	if way = append(way, found.Way...); !g.admits(way, "") {
		return nil, nil
	}
	all, err := g.Library.Names(ctx, images.Query{Image: layout.Image{Root: found.Root, Name: found.Path}})
	return slices.DeleteFunc(all, func(name string) bool { return !g.admits(way, name) }), err
}

// ownNames returns the names of the images in the store's own root.
func (g *Registry) ownNames(ctx context.Context) ([]string, error) {
	q, err := g.ofOwnRoot(ctx, images.Query{})
	if err != nil {
		return nil, err
	}
	all, err := g.Library.Names(ctx, q)
	if e, ok := errors.AsType[*images.Error](err); ok && e.Class == images.Lacking && q.Image.Root.Equals(emptyDirectory) {
		return nil, nil
	}
	return all, err
}

// pageOf returns the part of a sorted list that a request wants, and tells the client
// where the next part is. The order is that of bytes, as in all registries and in the
// specification's own tests, though the specification speaks of letters without case.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
func pageOf(w http.ResponseWriter, r Request, all []string) ([]string, error) {
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		from, found := slices.BinarySearch(all, last)
		if found {
			from++
		}
		all = all[from:]
	}
	if !query.Has("n") {
		return all, nil
	}
	n, err := strconv.ParseUint(query.Get("n"), 10, 63)
	if err != nil {
		return nil, &protocolError{codeBadQuery, fmt.Sprintf("n is the number of entries that are wanted, not %.20q", query.Get("n"))}
	}
	if n == 0 {
		return nil, nil
	}
	if n < uint64(len(all)) {
		all = all[:n]
		w.Header().Set("Link", linkToNext(r, all[n-1], int(n)))
	}
	return all, nil
}

// linkToNext returns the URL of the entries after last. It has the path that the client
// requested, and not the rewritten one. Clients use only its path and query.
func linkToNext(r Request, last string, n int) string {
	query := url.Values{"last": {last}, "n": {strconv.Itoa(n)}}
	if ns := r.URL.Query().Get("ns"); ns != "" {
		query.Set("ns", ns)
	}
	to := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
	if r.Original != nil {
		to.Path = r.Original.Path
	}
	return "<" + to.String() + `>; rel="next"`
}

// serveDocument answers with JSON that was made for the request.
func (g *Registry) serveDocument(w http.ResponseWriter, r Request, q request, mediaType, cache string, document any) error {
	body, err := encode(document)
	if err != nil {
		return err
	}
	release, err := g.hold(w, r, q, len(body))
	if err != nil {
		return err
	}
	defer release()
	d := digest.FromBytes(body)
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Cache-Control", cache)
	header.Set("ETag", etagOf(d))
	serveBytes(w, r, d, body)
	return nil
}

// notNil returns the list so that JSON has [] and not null for nothing.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
