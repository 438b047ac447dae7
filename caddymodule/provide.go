package caddymodule

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/provide"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Provide serves the content of the store to other registries and to IPFS nodes, at the root
// of the host. Another registry can follow this one, with the site as its gateway.
//
//	/ipfs/<cid>?format=raw           a block
//	/ipfs/<cid>[/<path>]?format=car  the blocks of a file or directory
//	/ipfs/<cid>[/<path>]             a file
//	/ipns/<key>?format=ipns-record   the newest record of the store's own root
//
// Anyone who knows a CID can fetch its content if the store or its cache has it, including
// content that clients pushed. Access control for `/v2` alone does not cover these paths. The
// registry asks no gateway for them. The deny lists apply. Other requests are passed on.
type Provide struct{}

// provisionProvide sets up the provider, if it is configured.
func (h *Handler) provisionProvide() error {
	switch {
	case h.Provide == nil:
		return nil
	case len(h.stores) == 0:
		return errors.New("'provide' serves what the store has, and there is no store: configure 'store', or remove 'provide'")
	case len(h.Allow) > 0:
		return errors.New("'provide' serves everything that the store has, and 'allow' only what it lists: remove one of them")
	}
	h.tellWhatIsProvided()
	h.provider = provide.New(provide.Config{Stores: h.stores, Lists: h.lists, Logger: h.logger, Refused: countRefusal})
	return nil
}

// tellWhatIsProvided logs who can fetch which content.
func (h *Handler) tellWhatIsProvided() {
	const toEverybody = "everybody who reaches this site and knows a CID can fetch what "
	needsSecret := func(g *Gateway) bool { return len(g.Headers) > 0 }
	hasRoot := func(s *store.Store) bool { _, err := s.Root().Current(); return err == nil }
	switch {
	case h.Push != nil, slices.ContainsFunc(h.stores, hasRoot): // another site may have 'push' for the store
		h.logger.Warn(toEverybody + "clients pushed: 'provide' is configured")
	case slices.ContainsFunc(h.Gateways, needsSecret):
		h.logger.Warn(toEverybody + "came from gateways that may ask for credentials: 'provide' is configured")
	default:
		h.logger.Info(toEverybody + "the store has: 'provide' is configured")
	}
}

// serveBeside answers requests outside of /v2, or passes them on.
func (h *Handler) serveBeside(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	if h.provider == nil {
		return next.ServeHTTP(w, r)
	}
	req, ok := provide.Parse(r)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	o, returned := observe(w, r), false
	defer func() { o.end(err, returned) }()
	o.Asked(subjectOf(req))
	o.From(images.FromStore)
	req.Private = registry.ShowsCredentials(r) || h.isPrivate(o.replacer, r.Header)
	req.Request = r.WithContext(budget.WithClient(r.Context(), clientOf(r)))
	err = h.provider.Serve(o, req)
	if failure, ok := errors.AsType[*provide.Failure](err); ok {
		err = caddyhttp.Error(failure.Status, failure.Err)
	}
	returned = true
	return err
}

func subjectOf(r *provide.Request) registry.Subject {
	s := registry.Subject{Kind: string(r.Kind), Name: r.Path}
	if r.Root.Defined() {
		s.CID = r.Root.String()
	} else {
		s.Reference = r.Name
	}
	return s
}

func (h *Handler) unmarshalProvide(d *caddyfile.Dispenser) error {
	if h.Provide != nil {
		return d.Err("provide already specified")
	}
	if d.NextArg() {
		return d.Errf("'provide' serves everything that the store has: remove '%s'", d.Val())
	}
	h.Provide = new(Provide)
	return nil
}
