// Package caddymodule is the Caddy module http.handlers.ipfs_registry: a container registry
// whose images are directories on IPFS.
//
// The package contains the parts that are about Caddy: Caddyfile and JSON, provisioning,
// metrics, admin API, events and traces. Package internal/registry implements the
// protocol, and internal/images finds the images. Only this package and cmd/caddy import
// Caddy.
package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/provide"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler serves container images from IPFS through the registry protocol that Docker,
// containerd, Kubernetes, Podman and all other container tools speak. Clients need
// neither extra software nor configuration.
//
// An image is named by its address, the CID of its directory on IPFS, which the
// `converter` program prints:
//
//	docker pull registry.example.com/<cid>[/<name>][:<tag>]
//	docker pull registry.example.com/ipfs/<cid>[/<name>][:<tag>]
//
// The CID is spelled `ciq…`, as the converter prints it, or is a CIDv1 in base32
// (`bafy…`), base36 (`k2…`) or base16 (`f01…`). An image that is the whole directory has
// no name. The images of one directory, the root, can also be served under plain names,
// for instance as a mirror of other registries.
//
// The handler also lists tags and referrers, such as signatures and bills of materials.
//
// Images come from a store on disk, from IPFS gateways, or from both. The handler reads
// the store first, and caches content from gateways in it as long as there is room. It
// fetches a blob once, however many clients ask for it. Without either option, it serves
// the store in which the converter keeps images by default.
//
// Gateways are not trusted. The handler verifies their answers against the CID in the
// image's name: directories, the nodes of files, every leaf, and the absence of content.
// Only verified bytes go to clients. Gateways that do not serve plain files, such as most
// public ones, are asked for CARs or for blocks. The publisher chose the digest of each
// blob, and may have got it wrong; all clients check that.
//
// If a gateway fails or lies, another one continues, even in the middle of an answer. For
// a minute, the gateway that failed is asked after all others for the same content, and
// after the others of its group for anything else. It is never left out. If no gateway can
// deliver some content, this counts against none of them.
//
// The handler answers only requests for `/v2` and below it, and with `provide` for content
// on IPFS below `/ipfs` and `/ipns`. It passes all others to the next handler, so a registry
// can share its site. The registry is read-only unless `push` is configured. The directive
// comes before `respond`, so that a site's catch-all does not swallow `/v2`, and after
// the directives for access control: `basic_auth`, `forward_auth`, `error` and `abort`. To
// refuse a client, use one of these, such as `error @denied 403`, or a `route`; a
// `respond @denied 403` comes too late. The handler answers errors of the protocol itself.
// Failures of the store or of all gateways go to `handle_errors`; on a site without it,
// the handler answers them in the protocol's form.
//
// Content never changes under a CID, so all answers may be cached for a year, by public
// caches too unless the request was authorised or had a cookie. This requires the address
// in the URL that the client requested: an answer under a rewritten URL must be
// revalidated (`no-cache`), which costs a 304. Blobs are already compressed, and answers
// tell the `encode` handler to leave them alone.
//
// This handler sets placeholders, for `log_append` and other handlers. Access logs have
// the same values in the field `ipfs_registry`.
//
// Placeholder | Description
// ------------|-------------
// `{http.ipfs_registry.kind}` | The kind of request: `base`, `manifest`, `blob`, `tags`, `referrers`, `catalog` or `upload`; with `provide` also `block`, `car`, `file` or `record`
// `{http.ipfs_registry.cid}` | The image's root
// `{http.ipfs_registry.name}` | The image's name below the root
// `{http.ipfs_registry.reference}` | The tag or digest
// `{http.ipfs_registry.source}` | The source of the answer: `store` or `gateway`
// `{http.ipfs_registry.address}` | The address on IPFS of what was pushed
type Handler struct {
	// Groups of IPFS gateways, in order of preference. A group is asked if no earlier
	// group delivered the content.
	Gateways []*Gateway `json:"gateways,omitempty"`

	// The store to serve images from. Default: none if there are gateways,
	// otherwise the converter's.
	Store *Store `json:"store,omitempty"`

	// How many blobs of an image are fetched at a time from gateways into the store's
	// cache, ahead of the client, after a client asked for the image's manifest. A
	// negative number turns this off. Default: `3`.
	Prefetch int `json:"prefetch,omitempty"`

	// How blobs (layers and configs) that come from IPFS reach clients.
	// Default: they are proxied.
	Blobs *Blobs `json:"blobs,omitempty"`

	// The names under which images are served, besides CIDs. Default: none.
	Names *Names `json:"names,omitempty"`

	// The directory whose images are served under their plain names. Default: the store's
	// own root if there is `push`, otherwise none; clients ask for images by address.
	Root *Root `json:"root,omitempty"`

	// Whether clients can push, and what. Default: they cannot.
	Push *Push `json:"push,omitempty"`

	// Serves the content of the store to other registries and to IPFS nodes, at the root of
	// the host. Default: off.
	Provide *Provide `json:"provide,omitempty"`

	// How long a state of the store's own root is kept after it was replaced, so that what
	// was deleted can still be pulled by its address, and taken back. A negative duration
	// keeps only the current state. It is remembered in the store. Default: what the store
	// remembers, at first 30 days.
	Keep caddy.Duration `json:"keep,omitempty"`

	// Whether `/v2/_catalog` lists the images of the store and of the root, by the names
	// to pull them under. Images that the lists refuse are left out. Default: `false`.
	Catalog bool `json:"catalog,omitempty"`

	// Files that list refused content: compact deny lists (IPIP-383, such as badbits) of
	// CIDs, paths below them, and names. A denied image, and everything below a denied
	// directory, is answered with 410, or with 451 if the list has the hint
	// `gateway_status=451`. Later rules override earlier ones, and later files override
	// earlier files. Global placeholders are replaced. A changed or replaced file is read
	// again within seconds; if it cannot be read then, its last content stays in force,
	// and the log says so. Default: none.
	Deny []string `json:"deny,omitempty"`

	// Files that list the only roots that are served: one CID a line, in any spelling. `#`
	// begins a comment. All other roots are answered with 403. Changed files are read
	// again like those of `deny`, which override them. Default: none; all roots are
	// served.
	Allow []string `json:"allow,omitempty"`

	// Header fields of requests by which clients may authenticate, such as `X-Api-Key`, in
	// addition to `Authorization` and `Cookie`. Answers to requests with one of them are
	// private: shared caches do not keep them. `*` makes all answers private. Default:
	// none.
	Private []string `json:"private,omitempty"`

	// How many bytes of memory all requests together may hold for what strangers can make
	// large: leaf tables, directories, manifests, and blocks that gateways send early. A
	// request that needs more waits for a few seconds, and is then answered with 503 and
	// `Retry-After`; blobs whose tables do not fit bypass the cache. At least 16 MiB. The
	// limit is one for the process: if several handlers set it, the least counts. Default:
	// an eighth of the memory that the process may use (`GOMEMLIMIT`, control groups, the
	// machine), but at least 16 MiB and at most 128 MiB.
	Memory int64 `json:"memory,omitempty"`

	instance
	own        *ownRoot              // nil if the store's own root is not served
	pushed     func(registry.Pushed) // nil if clients cannot push
	logger     *zap.Logger
	registry   *registry.Registry
	provider   *provide.Provider // nil if nothing is provided
	transports []*http.Transport // of the gateways
	configured context.Context   // done when another configuration replaces this one
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
	h.memory = h.Memory
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
	if err := h.provisionProvide(); err != nil {
		return err
	}
	if err := registerMetrics(ctx.GetMetricsRegistry(), gauges{}); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	h.start()
	return nil
}

func (h *Handler) provisionStore() (err error) {
	if h.Store == nil && (len(h.Gateways) == 0 || h.Push != nil) {
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

// provisionCache opens the cache for content from gateways, if there is a store.
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
	root, err := h.provisionRoot()
	if err != nil {
		return fmt.Errorf("setting up the root: %w", err)
	}
	push, err := h.provisionPush(ctx)
	if err != nil {
		return fmt.Errorf("setting up push: %w", err)
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
		Library: h.library, Resolver: resolver, Root: root, Catalog: h.Catalog, Redirect: redirect, Push: push, Logger: h.logger,
		Hooks: registry.Hooks{
			Resolving: resolving, NameResolved: countName, Refused: countRefusal,
			Receiving: measureUpload, Changing: measureChange, Pushed: h.pushed,
		},
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
	client := trustless.Config{Pool: h.pool, Budget: budget.Process(), Tables: budget.Tables()}
	if h.cache != nil {
		client.Nodes = h.cache.cache
		config.Filler, config.Prefetch = h.cache.filler, h.cache.prefetch
	}
	if h.pool != nil {
		config.Gateways = trustless.NewClient(client)
	}
	return images.New(ctx, config)
}

// Validate checks that the options fit together.
func (h *Handler) Validate() error {
	for _, field := range h.Private {
		if field != everyAnswer && !fieldName.MatchString(field) {
			return fmt.Errorf("private: %q is not the name of a header field", field)
		}
	}
	if h.Memory != 0 && h.Memory < minMemory {
		return fmt.Errorf("memory of %d bytes is too little: give at least %d", h.Memory, minMemory)
	}
	if h.Catalog && len(h.stores) == 0 && h.registry.Root == nil {
		return errors.New("'catalog' has no images to list: there is neither a store nor a root; configure one of them or remove 'catalog'")
	}
	if err := h.Names.validate(h.pool != nil, h.registry.Root); err != nil {
		return err
	}
	if h.lists != nil && h.registry.Redirect != nil && h.pool == nil {
		return errors.New("cannot check redirected blobs against the deny and allow lists without a gateway: configure 'gateway', or remove 'blobs redirect'")
	}
	return h.Blobs.validate(h.registry.Redirect)
}

// ServeHTTP answers requests under /v2, and those that `provide` answers. It passes on all
// others.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	if !registry.Serves(r.URL.Path) {
		return h.serveBeside(w, r, next)
	}
	o, returned := observe(w, r), false
	defer func() { o.end(err, returned) }()
	defer h.closeIdle()
	err = h.answer(o, r)
	returned = true
	return err
}

func (h *Handler) answer(o *observation, r *http.Request) error {
	r = r.WithContext(budget.WithClient(r.Context(), clientOf(r)))
	request := registry.Request{Request: r, Private: h.isPrivate(o.replacer, r.Header), User: userOf(o.replacer, r), Observation: o}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		request.Original = original.URL
	}
	err := h.registry.Serve(o, request)
	if failure, ok := errors.AsType[*registry.Failure](err); ok {
		return answerFailure(o, r, failure, h.logger)
	}
	return err
}

// isPrivate reports whether a request may have credentials that only this site knows.
func (h *Handler) isPrivate(replacer *caddy.Replacer, header http.Header) bool {
	if _, authenticated := replacer.Get("http.auth.user.id"); authenticated {
		return true
	}
	return slices.ContainsFunc(h.Private, func(field string) bool {
		return field == everyAnswer || len(header.Values(field)) > 0
	})
}

// everyAnswer stands in place of a header field.
const everyAnswer = "*"

// closeIdle closes idle connections once the configuration has been replaced: no
// request will use them again.
func (h *Handler) closeIdle() {
	if h.configured.Err() == nil {
		return
	}
	for _, t := range h.transports {
		t.CloseIdleConnections()
	}
}

// Cleanup releases what the handler holds. Caddy calls it when the configuration is no
// longer in use, also if Provision failed.
func (h *Handler) Cleanup() error { return h.stop() }

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
