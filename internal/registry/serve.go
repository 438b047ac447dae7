package registry

import (
	"context"
	"errors"
	"net/http"
	"path"
	"slices"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// Serve answers a request for a path that the registry Serves, also with errors of the
// protocol. If the library fails, Serve writes nothing and returns a *Failure.
func (g *Registry) Serve(w http.ResponseWriter, r Request) error {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	return g.finish(w, r, g.serve(w, r))
}

func (g *Registry) serve(w http.ResponseWriter, r Request) error {
	if g.Push == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return &protocolError{codeUnsupported, "this registry is read-only: add images with the converter, or have its operator configure 'push'"}
	}
	ns := namespaceOf(r.Request, g.Root)
	q, err := parseRequest(r.URL, ns)
	if err != nil {
		return refuseName(r.Method, err)
	}
	ns.tell(w, q)
	if q.rooted && g.Root.Own != nil {
		if q.Query, err = g.ofOwnRoot(r.Context(), q.Query); err != nil {
			return g.answerTo(q, err, nil)
		}
	}
	r.asked(q)
	switch {
	case !isPull(r.Method, q.kind):
		return g.servePush(w, r, q)
	case q.kind == kindBase:
		return writeJSON(w, r.Request, http.StatusOK, []byte("{}"))
	case q.kind == kindCatalog:
		return g.serveCatalog(w, r)
	case q.isNamed():
		return g.serveNamed(w, r, q)
	case q.Own && q.kind == kindBlob:
		return g.serveOwnBlob(w, r, q)
	}
	return g.serveImage(w, r, q)
}

// ofOwnRoot returns a query for an image of the store's own root as it is now.
func (g *Registry) ofOwnRoot(ctx context.Context, q images.Query) (images.Query, error) {
	var err error
	if q.Image.Root, err = g.Root.now(); err != nil {
		return q, images.Classify(ctx, err)
	}
	q.Own, q.Literal, q.Only = true, true, images.FromStore
	return q, nil
}

// serveImage answers a request for an image whose root is known.
func (g *Registry) serveImage(w http.ResponseWriter, r Request, q request) error {
	switch q.kind {
	case kindManifest:
		return g.serveManifest(w, r, q)
	case kindBlob:
		return g.serveBlob(w, r, q)
	case kindTags:
		return g.serveTags(w, r, q)
	}
	return g.serveReferrers(w, r, q)
}

// serveNamed answers from the directory that a name leads to.
func (g *Registry) serveNamed(w http.ResponseWriter, r Request, q request) error {
	if err := g.Library.AdmitName(q.name.String(), q.paths()...); err != nil {
		return g.answerTo(q, err, nil)
	}
	q.way = []names.Step{{Name: q.name, Path: q.Image.Name}}
	if g.Root.isOwn(q.name) {
		return g.serveOwnName(w, r, q)
	}
	found, err := g.resolve(r.Context(), q.name)
	if err != nil {
		return err
	}
	return g.serveResolved(w, r, q, found)
}

// serveOwnName answers a request by the IPNS name of the own root. It asks no gateway.
func (g *Registry) serveOwnName(w http.ResponseWriter, r Request, q request) (err error) {
	if q.Query, err = g.ofOwnRoot(r.Context(), q.Query); err != nil {
		return g.answerTo(q, err, nil)
	}
	r.asked(q)
	return g.serveImage(w, r, q)
}

// serveResolved answers from the directory that a name leads to now. A client may know a
// digest from a directory that the name led to before, so those are searched as well.
func (g *Registry) serveResolved(w http.ResponseWriter, r Request, q request, found names.Resolved) error {
	q.expires = found.Expires
	err := g.serveEnd(w, r, q, found.End)
	if q.Digest == "" || !isNotFound(err) {
		return err
	}
	for _, before := range found.Before {
		earlier := g.serveEnd(w, r, q, before)
		if earlier == nil {
			return nil
		}
		if _, failed := errors.AsType[*Failure](earlier); failed {
			err = earlier // it may be there, so it is not known to be absent
		}
	}
	return err
}

// serveEnd answers from the directory that a name leads to, if the lists allow each name
// on the way: anyone can make a name that leads to a denied one.
func (g *Registry) serveEnd(w http.ResponseWriter, r Request, q request, end names.End) error {
	for _, step := range end.Way {
		through := q
		through.Image.Name = path.Join(step.Path, q.Image.Name)
		if err := g.Library.AdmitName(step.Name.String(), through.paths()...); err != nil {
			return g.answerTo(q, err, nil)
		}
		q.way = append(slices.Clip(q.way), names.Step{Name: step.Name, Path: through.Image.Name})
	}
	q.Image = layout.Image{Root: end.Root, Name: path.Join(end.Path, q.Image.Name)}
	q.Literal = end.Literal
	r.asked(q)
	return g.serveImage(w, r, q)
}
