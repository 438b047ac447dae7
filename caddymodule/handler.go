// Package caddymodule is the Caddy module http.handlers.ipfs_registry: a read-only
// container registry whose images are directories on IPFS.
//
// It is Caddy and nothing else: Caddyfile and JSON, provisioning, metrics, admin API,
// events and traces. The protocol is internal/registry, and where images come from is
// internal/images. Only this package and cmd/caddy import Caddy.
package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler serves container images that live on IPFS, with the registry protocol that
// Docker, containerd, Kubernetes, Podman and all other container tools speak. Nothing has
// to be installed or configured where images are pulled.
//
// An image is named by its address, the CID of its directory on IPFS, which the
// `converter` program prints:
//
//	docker pull registry.example.com/<cid>[/<name>][:<tag>]
//	docker pull registry.example.com/ipfs/<cid>[/<name>][:<tag>]
//
// The CID is spelled `ciq…`, as the converter prints it, or is a CIDv1 in base32
// (`bafy…`), base36 (`k2…`) or base16 (`f01…`). An image that is alone in its directory
// has no name. The images of one directory, the root, can be served by their names alone,
// also as a mirror of other registries.
//
// Tags are listed, and so are referrers, such as signatures and bills of materials.
//
// Images come from a store on disk, from IPFS gateways, or from both. The store is asked
// first, and keeps what gateways gave as long as there is room. A blob is fetched once,
// however many clients ask for it. Without either option, the store is the one in which
// the converter keeps images by default.
//
// Gateways are not trusted. Everything that they send is verified against the CID in the
// image's name: directories, the nodes of files, every leaf, and the absence of something.
// Only verified bytes go on to clients. Gateways that serve no plain files, as most public
// ones, are asked for CARs or for blocks. The publisher chose the digest that a blob goes
// by, and may have got it wrong; clients check that, as they all do.
//
// If a gateway fails or lies, another one goes on, in the middle of an answer too. For a
// minute, the one that failed is asked after all others for the same thing, and after the
// others of its group for anything else. It is never left out. If no gateway could give
// something, no gateway is blamed for it.
//
// Only requests for `/v2` and below it are answered. All others are passed to the next
// handler, so a registry can share its site. The registry is read-only. The directive
// comes before `respond`, so that a site's catch-all does not swallow `/v2`, and after
// the directives that decide who may ask: `basic_auth`, `forward_auth`, `error` and
// `abort`. To refuse a client, use one of these, such as `error @denied 403`, or a
// `route`; a `respond @denied 403` comes too late. Errors of the protocol are answered.
// Failures of the store or of all gateways go to `handle_errors`; a site without it
// answers them in the protocol's form.
//
// Content never changes under a CID, so all answers may be kept for a year, by public
// caches too unless the request was authorised or had a cookie. That holds as long as the
// address stands in the URL that the client asked for: an answer under a rewritten URL has
// to be asked for again (`no-cache`), which costs a 304. Compressing content again is of
// no use, and answers tell the `encode` handler so.
//
// This handler sets placeholders, for `log_append` and other handlers. Access logs have
// the same in the field `ipfs_registry`.
//
// Placeholder | Description
// ------------|-------------
// `{http.ipfs_registry.kind}` | What is asked for: `base`, `manifest`, `blob`, `tags`, `referrers` or `catalog`
// `{http.ipfs_registry.cid}` | The image's root
// `{http.ipfs_registry.name}` | The image's name below the root
// `{http.ipfs_registry.reference}` | The tag or digest
// `{http.ipfs_registry.source}` | Where the answer is from: `store` or `gateway`
type Handler struct {
	// Groups of IPFS gateways, in order of preference. A group is asked when none of
	// those before it gave what is wanted.
	Gateways []*Gateway `json:"gateways,omitempty"`

	// The store to serve images from. Default: none if there are gateways,
	// otherwise the converter's.
	Store *Store `json:"store,omitempty"`

	// How many blobs of an image are fetched from gateways into the store's cache at
	// once, ahead of clients, when its manifest is asked for. None if it is negative.
	// Default: `3`.
	Prefetch int `json:"prefetch,omitempty"`

	// How blobs (layers and configs) that come from IPFS reach clients.
	// Default: they are proxied.
	Blobs *Blobs `json:"blobs,omitempty"`

	// The names that images may be asked for by, besides CIDs. Default: none.
	Names *Names `json:"names,omitempty"`

	// The directory whose images are served under their plain names. Default: none;
	// images are asked for by an address.
	Root *Root `json:"root,omitempty"`

	// Whether `/v2/_catalog` lists the images of the store and of the root, by the
	// names by which they can be pulled. Images that the lists refuse are left out.
	// Default: `false`.
	Catalog bool `json:"catalog,omitempty"`

	// Files that say what is not served: compact deny lists (IPIP-383, such as
	// badbits) of CIDs, paths below them, and names. A denied image, and everything
	// below a denied directory, is answered with 410, or with 451 where the list has the
	// hint `gateway_status=451`. Of two rules the later one counts, and later files come
	// after earlier ones. Global placeholders are replaced. A file that changes or is
	// replaced is read again within seconds; if it cannot be read then, its last content
	// stays in force, and the log says so. Default: none.
	Deny []string `json:"deny,omitempty"`

	// Files with the only roots that are served: a CID a line, in any spelling. `#`
	// begins a comment. All other roots are answered with 403. The files are read like
	// those of `deny`, which have the last word. Default: none; all roots are served.
	Allow []string `json:"allow,omitempty"`

	instance
	logger     *zap.Logger
	registry   *registry.Registry
	transports []*http.Transport // of the gateways
	configured context.Context   // until another configuration takes the place of this one
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.ipfs_registry",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the sources of images, and the registry that serves them.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger, h.configured = ctx.Logger(), ctx
	var err error
	if h.lists, err = openLists(ctx, h.Deny, h.Allow, h.logger); err != nil {
		return fmt.Errorf("setting up deny and allow lists: %w", err)
	}
	if err := h.provisionStore(); err != nil {
		return fmt.Errorf("setting up the store: %w", err)
	}
	groups, err := h.provisionGateways(ctx)
	if err != nil {
		return err
	}
	if err := h.provisionCache(); err != nil {
		return fmt.Errorf("setting up the cache: %w", err)
	}
	if err := h.provisionRegistry(ctx, groups); err != nil {
		return err
	}
	if err := registerMetrics(ctx.GetMetricsRegistry(), gauges{}); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	h.start()
	return nil
}

func (h *Handler) provisionStore() (err error) {
	if h.Store == nil && len(h.Gateways) == 0 {
		h.Store = new(Store)
	}
	if h.Store != nil {
		h.stores, err = h.Store.provision(h.logger)
	}
	return err
}

func (h *Handler) provisionGateways(ctx caddy.Context) ([]gateway.Group, error) {
	var groups []gateway.Group
	for i, g := range h.Gateways {
		group, transport, err := g.provision(ctx)
		if err != nil {
			return nil, fmt.Errorf("setting up gateway group %d: %w", i, err)
		}
		groups = append(groups, group)
		h.transports = append(h.transports, transport)
	}
	observer, err := newAttempts(ctx)
	h.pool = newPool(groups, observer)
	return groups, err
}

// provisionCache opens the cache that keeps what gateways give, if there is a store.
func (h *Handler) provisionCache() (err error) {
	if h.pool == nil || len(h.stores) == 0 || !h.Store.keeps() {
		return nil
	}
	s := cached(h.stores)
	h.cache, err = openCache(s, newCacheConfig(s, h.Store.maxSize(), h.Store.MinFree, h.logger), h.prefetch())
	return err
}

func (h *Handler) prefetch() int {
	if h.Prefetch == 0 {
		return defaultPrefetch
	}
	return max(0, h.Prefetch)
}

func (h *Handler) provisionRegistry(ctx caddy.Context, groups []gateway.Group) error {
	root, err := h.Root.provision()
	if err != nil {
		return fmt.Errorf("setting up the root: %w", err)
	}
	if h.Blobs == nil {
		h.Blobs = new(Blobs)
	}
	redirect, err := h.Blobs.provision(groups)
	if err != nil {
		return fmt.Errorf("setting up blobs: %w", err)
	}
	resolver, err := h.newResolver(root)
	if err != nil {
		return fmt.Errorf("setting up names: %w", err)
	}
	h.library = h.newLibrary(ctx)
	h.registry = registry.New(registry.Config{
		Library: h.library, Resolver: resolver, Root: root, Catalog: h.Catalog, Redirect: redirect, Logger: h.logger,
		Hooks: registry.Hooks{Resolving: resolving, NameResolved: countName, Refused: countRefusal},
	})
	return nil
}

func (h *Handler) newResolver(root *registry.Root) (*names.Resolver, error) {
	dir := ""
	if h.Store != nil {
		var err error
		if dir, err = h.Store.writable(); err != nil && (h.Names != nil || root.IsName()) {
			return nil, err
		}
	}
	return newResolver(h.Names, root, h.pool, dir, h.logger)
}

func (h *Handler) newLibrary(ctx caddy.Context) *images.Library {
	config := images.Config{Stores: h.stores, Lists: h.lists, Logger: h.logger, Looked: countLook}
	client := trustless.Config{Pool: h.pool}
	if h.cache != nil {
		client.Nodes = h.cache.cache
		config.Filler, config.Prefetch = h.cache.filler, h.cache.prefetch
	}
	if h.pool != nil {
		config.Gateways = trustless.NewClient(client)
	}
	return images.New(ctx, config)
}

// Validate ensures that what is configured can work.
func (h *Handler) Validate() error {
	if h.Catalog && len(h.stores) == 0 && h.registry.Root == nil {
		return errors.New("'catalog' has no images to list: there is neither a store nor a root")
	}
	if err := h.Names.validate(h.pool != nil, h.registry.Root); err != nil {
		return err
	}
	if h.lists != nil && h.registry.Redirect != nil && h.pool == nil {
		return errors.New("blobs are redirected, and there is no gateway that tells what the deny and allow lists have to know of them")
	}
	return h.Blobs.validate(h.registry.Redirect)
}

// ServeHTTP answers what is under /v2 and passes on the rest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	if !registry.Serves(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	o, returned := observe(w, r), false
	defer func() { o.end(err, returned) }()
	defer h.closeIdle()
	err = h.answer(o, r)
	returned = true
	return err
}

func (h *Handler) answer(o *observation, r *http.Request) error {
	_, authorised := o.replacer.Get("http.auth.user.id")
	request := registry.Request{Request: r, Authorised: authorised, Observation: o}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		request.Original = original.URL
	}
	err := h.registry.Serve(o, request)
	if failure, ok := errors.AsType[*registry.Failure](err); ok {
		return answerFailure(o, r, failure, h.logger)
	}
	return err
}

// closeIdle closes the connections that an answer has left idle after the
// configuration was replaced: nobody will want them again.
func (h *Handler) closeIdle() {
	if h.configured.Err() == nil {
		return
	}
	for _, t := range h.transports {
		t.CloseIdleConnections()
	}
}

// Cleanup is called when the configuration is not in use any more, whether or not
// it was provisioned.
func (h *Handler) Cleanup() error { return h.stop() }

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
