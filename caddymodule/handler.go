// Package caddymodule is the Caddy module http.handlers.ipfs_registry: a
// read-only container registry whose images are directories on IPFS.
//
// It is the only package that imports Caddy. What a request means is decided in
// request.go, once; where the parts of an image are is internal/layout's to
// know; images on disk are internal/store's, getting them from gateways that
// nobody trusts is internal/trustless's, and keeping what came on its way to
// clients is internal/fill's. What is left, and here, is to
// answer as the distribution specification wants it, and to be a good module:
// its own path prefix and nothing else, Caddy's errors, logs and transports.
package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
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
// directory has no name. Images of one directory, the root, can be served by
// their names alone, and in the place of those of other registries.
//
// Tags are listed, and so are referrers: signatures and bills of materials, say.
//
// Images come from a store on disk, from IPFS gateways, or from both: then the
// store is looked at first, and keeps what gateways gave, as long as there is room.
// However many ask for a blob, it is fetched once. Without either, it is the store
// in which the converter keeps images by default.
//
// Gateways are not trusted. What they send is held against the CID in the
// image's name, from there through directories and the nodes of files down to the
// last leaf, and only what is right goes on: tags, manifests, blobs and parts of
// blobs, and that something does not exist. Gateways that serve no plain files,
// as most public ones, are asked for CARs or for blocks. That a blob has the
// digest which it goes by, and which its publisher may have got wrong, is for
// clients to check, as they all do.
//
// Where a gateway fails or lies, another goes on, in the middle of an answer too.
// For a minute, one that failed is asked after all others for the same thing, and
// for anything else after the others of its group, but never left out. If no
// gateway could give what was wanted, that is held against none of them.
//
// Only requests for `/v2` and below it are answered. All others are passed to
// the next handler, so a registry can share its site. The registry is read-only.
// The directive comes before `respond`, so that a site's last words do not
// swallow `/v2`, and after all that decides who may ask: `basic_auth`,
// `forward_auth`, `error` and `abort`. To refuse somebody, use one of these,
// such as `error @denied 403`, or a `route`; a `respond @denied 403` comes too
// late. Errors of the protocol are answered; what store and gateways fail at is
// for `handle_errors`, and without it an answer in the protocol's form as well.
//
// Content never changes under a CID, so all answers may be kept for a year, by
// public caches too unless the request was authorised or had a cookie. What a
// trusted gateway's word was taken for may not: a tag has to be asked for again
// (`no-cache`), which costs a 304; parts of blobs and answers to HEAD are not to
// be kept (`no-store`). There is no use in compressing any of it again, and
// answers say so to the `encode` handler.
//
// This handler sets placeholders, for `log_append` and other handlers. Access logs
// have the same in the field `ipfs_registry`.
//
// Placeholder | Description
// ------------|-------------
// `{http.ipfs_registry.kind}` | What is asked for: `base`, `manifest`, `blob`, `tags`, `referrers` or `catalog`
// `{http.ipfs_registry.cid}` | The image's root
// `{http.ipfs_registry.name}` | The image's name below the root
// `{http.ipfs_registry.reference}` | The tag or digest
// `{http.ipfs_registry.source}` | Where the answer is from: `store` or `gateway`
type Handler struct {
	// Groups of IPFS gateways, in order of preference. The next group is asked
	// when none in those before it has what is wanted.
	Gateways []*Gateway `json:"gateways,omitempty"`

	// The store to serve images from. Default: none if there are gateways,
	// otherwise the converter's.
	Store *Store `json:"store,omitempty"`

	// How many blobs of an image are fetched from gateways into the store's cache at
	// once, ahead of clients, when its manifest is asked for. None if it is negative.
	// Default: `3`.
	Prefetch int `json:"prefetch,omitempty"`

	// How much gateways are trusted. `verified`: not at all; what they send is held
	// against the CID in the image's name, from there down to the last leaf, before
	// it goes on. `gateway`: what a tag is and parts of blobs are taken on their
	// word, and digests are checked; for a node of one's own. Default: `verified`.
	Trust string `json:"trust,omitempty"`

	// How blobs (layers and configs) that come from IPFS reach clients.
	// Default: they are proxied.
	Blobs *Blobs `json:"blobs,omitempty"`

	// The names that images may be asked for by besides CIDs. Default: none.
	Names *Names `json:"names,omitempty"`

	// The directory whose images are served under their plain names. Default:
	// none, images are asked for by an address.
	Root *Root `json:"root,omitempty"`

	// Whether `/v2/_catalog` lists what the store and the root hold, by the names
	// by which it can be pulled, without what the lists refuse. Default: `false`.
	Catalog bool `json:"catalog,omitempty"`

	// Files with what is not served: compact deny lists (IPIP-383, of which
	// badbits is one) of CIDs, paths below them, and names. What is denied is
	// answered with 410, or with 451 where the list has the hint
	// `gateway_status=451`; and so is all that is below it. Of two rules the later
	// one counts, and later files come after earlier ones. Global placeholders are
	// replaced. A file that has changed or was replaced is read again within
	// seconds; if it cannot be read then, what it said before stays in force, and
	// the log says so. Default: none.
	Deny []string `json:"deny,omitempty"`

	// Files with the roots that alone are served: a CID a line, in any spelling.
	// What follows `#` is a comment. What is on none of them is answered with 403.
	// They are read like those of what is denied, which have the last word.
	// Default: none, all roots are served.
	Allow []string `json:"allow,omitempty"`

	lists     *denylist.Lists // nil if all may be served
	logger    *zap.Logger
	stores    []*store.Store    // where to look for images on disk, one after the other
	pool      *gateway.Pool     // nil if there are no gateways
	client    *trustless.Client // of the pool, that proves what they say
	manifests *manifestCache    // of what the client proved
	filler    *fill.Filler      // of the store's cache, nil if there is none
	cached    *store.Cache      // that it fills
	forms     *formCache
	redirect  *url.URL        // nil if blobs are proxied
	resolver  *names.Resolver // nil if there are no names
	root      *root           // nil if images are asked for by addresses only

	ctx    caddy.Context
	events *caddyevents.App
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
	h.forms = newFormCache()
	if err := h.provisionLists(ctx); err != nil {
		return fmt.Errorf("setting up deny and allow lists: %w", err)
	}

	if h.Store == nil && len(h.Gateways) == 0 {
		h.Store = new(Store)
	}
	var err error
	if h.Store != nil {
		h.stores, err = h.Store.provision(h.logger)
		if err != nil {
			return fmt.Errorf("setting up the store: %w", err)
		}
	}

	var groups []gateway.Group
	for i, g := range h.Gateways {
		group, err := g.provision(ctx)
		if err != nil {
			return fmt.Errorf("setting up gateway group %d: %w", i, err)
		}
		groups = append(groups, group)
	}
	if len(groups) > 0 {
		h.pool = gateway.NewPool(groups...)
		h.client = trustless.NewClient(h.pool)
		h.manifests = newManifestCache()
	}
	if err := h.provisionCache(); err != nil {
		return fmt.Errorf("setting up the cache: %w", err)
	}

	if h.Blobs == nil {
		h.Blobs = new(Blobs)
	}
	h.redirect, err = h.Blobs.provision(groups)
	if err != nil {
		return fmt.Errorf("setting up blobs: %w", err)
	}
	if h.Root != nil {
		h.root, err = h.Root.provision()
		if err != nil {
			return fmt.Errorf("setting up the root: %w", err)
		}
	}
	if err := h.provisionNames(); err != nil {
		return fmt.Errorf("setting up names: %w", err)
	}
	return h.start(ctx)
}

// Validate ensures that what is configured can work.
func (h *Handler) Validate() error {
	if h.Trust != "" && h.Trust != trustVerified && h.Trust != trustGateway {
		return fmt.Errorf("unknown trust '%s': it is '%s' or '%s'", h.Trust, trustVerified, trustGateway)
	}
	if h.Trust == trustGateway && h.pool == nil {
		return errors.New("there is no gateway to be trusted")
	}
	if h.Catalog && len(h.stores) == 0 && h.root == nil {
		return errors.New("there is neither a store nor a root to list the images of for 'catalog'")
	}
	if err := h.Names.validate(h.pool != nil, h.root); err != nil {
		return err
	}
	if h.lists != nil && h.redirect != nil && h.pool == nil {
		return errors.New("blobs are redirected, and there is no gateway that tells what the deny and allow lists have to know of them")
	}
	return h.Blobs.validate(h.redirect)
}

// ServeHTTP answers what is under /v2 and passes on the rest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !isOurs(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	return observed(w, r, h.answer)
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) error {
	defer h.release()
	err := h.serve(w, r)
	if answer, ok := errors.AsType[*registryError](err); ok {
		return answer.write(w, r)
	}
	if err != nil {
		return h.serveFailure(w, r, err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
