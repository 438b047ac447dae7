package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// serveNamed answers from the directory that a name stands for. A client that knows a
// digest may know it from what the name stood for before.
func (g *Registry) serveNamed(w http.ResponseWriter, r Request, q request) error {
	if err := g.Library.AdmitName(q.name.String(), q.paths()...); err != nil {
		return g.answerTo(q, err, nil)
	}
	found, err := g.resolve(r.Context(), q.name)
	if err != nil {
		return err
	}
	q.expires = found.Expires
	err = g.serveEnd(w, r, q, found.End)
	for _, before := range found.Before {
		if q.Digest == "" || !isNotFound(err) {
			break
		}
		if g.serveEnd(w, r, q, before) == nil {
			return nil
		}
	}
	return err
}

// serveEnd answers from where a name leads to, if the lists allow each name on the way
// there: anybody can make a name that leads to one that they deny.
func (g *Registry) serveEnd(w http.ResponseWriter, r Request, q request, end names.End) error {
	for _, step := range end.Way {
		through := q
		through.Image.Name = path.Join(step.Path, q.Image.Name)
		if err := g.Library.AdmitName(step.Name.String(), through.paths()...); err != nil {
			return g.answerTo(q, err, nil)
		}
	}
	q.Image = layout.Image{Root: end.Root, Name: path.Join(end.Path, q.Image.Name)}
	r.asked(q)
	return g.serveImage(w, r, q)
}

// resolve returns what a name stands for. Its error is a *protocolError or a *Failure.
func (g *Registry) resolve(ctx context.Context, n names.Name) (names.Resolved, error) {
	ctx, end := g.Hooks.Resolving(ctx, "ipns", n.String())
	found, err := g.lookUp(ctx, n)
	end(err)
	g.Hooks.NameResolved(err)
	if refused, ok := errors.AsType[*names.NotAllowedError](err); ok {
		return names.Resolved{}, notAllowed(refused.Name)
	}
	if err != nil {
		return names.Resolved{}, g.answerTo(request{}, err, &protocolError{codeNameUnknown, err.Error()})
	}
	return found, nil
}

// lookUp asks the resolver. Its error is an *images.Error.
func (g *Registry) lookUp(ctx context.Context, n names.Name) (found names.Resolved, err error) {
	err = &names.NotAllowedError{Name: n}
	if g.Resolver != nil {
		found, err = g.Resolver.Resolve(ctx, n)
	}
	if err == nil {
		return found, nil
	}
	_, refused := errors.AsType[*names.NotAllowedError](err)
	_, ofGateways := errors.AsType[gateway.Error](err)
	timeout, ok := errors.AsType[net.Error](err)
	late := errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout()
	switch {
	case ctx.Err() != nil, ofGateways:
		return found, images.Classify(ctx, err)
	case refused, errors.Is(err, fs.ErrNotExist):
		return found, &images.Error{Class: images.Absent, Err: err}
	case late:
		return found, &images.Error{Class: images.Late, Err: err}
	}
	return found, &images.Error{Class: images.Unavailable, Err: err}
}

// notAllowed is the answer that says which option would allow a name.
func notAllowed(n names.Name) error {
	option, kind := "ipns", "IPNS keys"
	if n.Domain() != "" {
		option, kind = "dnslink "+n.Domain(), "this domain"
	}
	return &protocolError{codeNameUnknown, fmt.Sprintf("%s: this registry does not serve images by %s; its option `names { %s }` would allow it", n, kind, option)}
}
