package caddymodule

import (
	"errors"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Root is a directory on IPFS whose images are served under plain names, like those of
// any other registry, also as a mirror of other registries:
//
//	docker pull registry.example.com/<name>[:<tag>]
//
// A root does not change the meaning of repositories that begin with an address. Only tags
// in `tags/list` are answered. So `latest` is answered if an image is tagged so, but not if
// it is only an alias for clients that name no tag. If all tags of an image lead to one
// manifest, `latest` beside another tag counts as an alias and is not answered, unless the
// record of an IPNS key says that no tag is an alias, as the record of a store's own root does. Plain
// names can change with the configuration, so tags must be revalidated (`no-cache`), which
// costs a 304.
type Root struct {
	// The directory: a CID in any spelling, an IPNS key or a domain with a DNSLink. It
	// need not be allowed in `names`. It is resolved, and may be cached, like the names
	// there.
	//
	// Default: the store's own root, to which clients push and `converter --onto root` adds
	// images. The handler follows each change at once. Of this root, all tags are answered: `latest`
	// is one only if an image was tagged so. No allow list need name it.
	Address string `json:"address,omitempty"`

	// The registries that the images come from. containerd tells a mirror which registry
	// it means (`?ns=<host>`). Requests for registries other than these and this site get
	// 404. For Docker Hub (`docker.io`, in any of its spellings), `library/` is left out
	// of names.
	//
	// The directory does not record where an image came from, so clients find each image
	// under each of these hosts. Name several hosts only if no two of them have different
	// images under the same name. Docker asks its `registry-mirrors` only for images of
	// `docker.io`, without saying so: the root of such a mirror must contain only images
	// from there.
	//
	// Default: none. Then requests with `?ns=` of any host but this one get 404.
	For []string `json:"for,omitempty"`
}

// provision reads the root. For a nil Root it returns nil. The store is nil if there is none.
func (r *Root) provision(s *Store) (*registry.Root, error) {
	if r == nil {
		return nil, nil
	}
	root, err := r.parse(s)
	if err != nil {
		return nil, err
	}
	for _, host := range r.For {
		if err := registry.CheckHost(host); err != nil {
			return nil, err
		}
	}
	root.Hosts = r.For
	return root, nil
}

func (r *Root) parse(s *Store) (*registry.Root, error) {
	if r.Address != "" {
		return registry.ParseRoot(r.Address)
	}
	if s == nil {
		return nil, errors.New("'root' without an address is the store's own root, and there is no store: configure 'store', or write the address of a root")
	}
	dir, err := s.writable()
	if err != nil {
		return nil, err
	}
	return &registry.Root{Own: store.Open(dir).Root()}, nil
}

// provisionRoot returns the directory of plain names, nil for none. With push, it is the
// store's own root.
func (h *Handler) provisionRoot() (*registry.Root, error) {
	if err := h.validatePush(); err != nil {
		return nil, err
	}
	if h.Push != nil && h.Root == nil {
		h.Root = new(Root)
	}
	return h.Root.provision(h.Store)
}

// hasOwnRoot reports whether the handler serves the store's own root.
func (h *Handler) hasOwnRoot() bool {
	return h.Push != nil || h.Root != nil && h.Root.Address == ""
}

func (r *Root) unmarshal(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		r.Address = d.Val()
		if _, err := registry.ParseRoot(r.Address); err != nil {
			return d.Errf("invalid root: %v", err)
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "for":
			hosts := d.RemainingArgs()
			if len(hosts) == 0 {
				return d.ArgErr()
			}
			for _, host := range hosts {
				if err := registry.CheckHost(host); err != nil {
					return d.Errf("invalid for: %v", err)
				}
			}
			r.For = append(r.For, hosts...)
		default:
			return d.Errf("unrecognized root subdirective '%s'", d.Val())
		}
	}
	return nil
}
