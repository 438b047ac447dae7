// Package caddymodule is the Caddy module http.handlers.ipfs_registry: a
// read-only container registry whose images are directories on IPFS.
//
// It is the only package that imports Caddy. What a request means is decided in
// request.go, once; where the parts of an image are is internal/layout's to
// know; images on disk are internal/store's, and getting them from gateways
// that nobody trusts is internal/trustless's. What is left, and here, is to
// answer as the distribution specification wants it, and to be a good module:
// its own path prefix and nothing else, Caddy's errors, logs and transports.
package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler serves container images that live on IPFS, with the registry protocol
// that Docker, containerd, Kubernetes, Podman and all other container tools
// speak. Nothing has to be installed or configured where images are pulled.
//
// An image is named by its address, the CID of its directory on IPFS, which the
// `converter` program prints:
//
//	docker pull registry.example.com/<cid>[/<name>][:<tag>]
//	docker pull registry.example.com/ipfs/<cid>[/<name>][:<tag>]
//
// The CID is spelled `ciq…`, as the converter prints it, or is a CIDv1 in base32
// (`bafy…`), base36 (`k2…`) or base16 (`f01…`). An image that is alone in its
// directory has no name.
//
// Images come from a store on disk, from IPFS gateways, or from both: then the
// store is looked at first. Without either, it is the store in which the
// converter keeps images by default.
//
// Gateways are not trusted. Content that was asked for by its digest is checked
// against it, a blob while it passes: if it is not what it should be, the
// connection is cut before the blob's last bytes. Where a gateway fails, another
// goes on, in the middle of an answer too. One that failed or lied is asked last
// for a minute, but never left out.
//
// Only requests for `/v2` and below it are answered. All others are passed to
// the next handler, so a registry can share its site. The registry is read-only.
//
// Content never changes under a CID, so answers may be kept for a year, by
// public caches too unless the request was authorised. There is no use in
// compressing them again, and they say so to the `encode` handler.
type Handler struct {
	// Groups of IPFS gateways, in order of preference. The next group is asked
	// when none in those before it has what is wanted.
	Gateways []*Gateway `json:"gateways,omitempty"`

	// The store to serve images from. Default: none if there are gateways,
	// otherwise the converter's.
	Store *Store `json:"store,omitempty"`

	// How blobs (layers and configs) that come from IPFS reach clients.
	// Default: they are proxied.
	Blobs *Blobs `json:"blobs,omitempty"`

	logger   *zap.Logger
	store    *store.Store    // nil if there is none
	pool     *trustless.Pool // nil if there are no gateways
	redirect *url.URL        // nil if blobs are proxied
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.ipfs_registry",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the store and the gateways.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()

	if h.Store == nil && len(h.Gateways) == 0 {
		h.Store = new(Store)
	}
	if h.Store != nil {
		if err := h.Store.provision(); err != nil {
			return fmt.Errorf("setting up the store: %w", err)
		}
		h.store = store.Open(h.Store.Directory)
	}

	var groups []trustless.Group
	for i, g := range h.Gateways {
		group, err := g.provision(ctx)
		if err != nil {
			return fmt.Errorf("setting up gateway group %d: %w", i, err)
		}
		groups = append(groups, group)
	}
	if len(groups) > 0 {
		h.pool = trustless.NewPool(groups...)
	}

	if h.Blobs == nil {
		h.Blobs = new(Blobs)
	}
	var err error
	h.redirect, err = h.Blobs.provision(groups)
	if err != nil {
		return fmt.Errorf("setting up blobs: %w", err)
	}
	return nil
}

// Validate ensures that what is configured can work.
func (h *Handler) Validate() error {
	return h.Blobs.validate(h.redirect)
}

// ServeHTTP answers what is under /v2 and passes on the rest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !isOurs(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	err := h.serve(w, r)
	if answer, ok := errors.AsType[*registryError](err); ok {
		return answer.write(w, r)
	}
	return err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
