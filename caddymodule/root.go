package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

// Root is a directory on IPFS whose images are served under their plain names, as any
// other registry serves its own, and as a mirror of other registries:
//
//	docker pull registry.example.com/<name>[:<tag>]
//
// A repository that begins with an address means the same with a root as without. Only
// the tags that `tags/list` has are answered. So `latest` is answered where an image is
// tagged so, and not where it is only an alias, by which the image is found when a client
// names no tag. If it stands beside the only other tag of an image, it may be either, and
// is not answered. What a plain name stands for changes with the configuration, so tags
// have to be asked for again (`no-cache`), which costs a 304.
type Root struct {
	// The directory: a CID in any spelling, an IPNS key or a domain with a DNSLink.
	// Naming it here allows it, whatever `names` says. It is looked up, and may be
	// cached, as the names there.
	Address string `json:"address,omitempty"`

	// The registries that the images are from. containerd tells a mirror whose image it
	// wants (`?ns=<host>`); images of other registries than these, and than this site,
	// are not found then. Where Docker Hub (`docker.io`) is meant, in any of its
	// spellings, `library/` is left out of names.
	//
	// The directory does not tell where an image is from, so clients find each of its
	// images under each of these hosts. Name several hosts only if no two of them have
	// different images of one name. Docker asks its `registry-mirrors` only for images
	// of `docker.io`, and does not say so: a server that is one must have a root with
	// nothing else in it.
	//
	// Default: none. Then `?ns=` of any host but this one is not found.
	For []string `json:"for,omitempty"`
}

// provision reads the root. A nil Root is none.
func (r *Root) provision() (*registry.Root, error) {
	if r == nil {
		return nil, nil
	}
	root, err := registry.ParseRoot(r.Address)
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

func (r *Root) unmarshal(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&r.Address) {
		return d.ArgErr()
	}
	if _, err := registry.ParseRoot(r.Address); err != nil {
		return d.Errf("invalid root: %v", err)
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
