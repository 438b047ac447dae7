package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

// Root is a directory on IPFS whose images are served under their plain names,
// as any other registry serves its own, and as a mirror of other registries:
//
//	docker pull registry.example.com/<name>[:<tag>]
//
// A repository that begins with an address means the same with a root as
// without. A tag is one that `tags/list` has: `latest` is answered where an image
// is tagged so, and not where it is only how the image is found when nobody names
// a tag. Where it stands beside the only other tag of an image, nothing tells
// which of the two it is, and it is not answered. What a plain name stands for
// changes with the configuration, so tags have to be asked for again (`no-cache`),
// which costs a 304.
type Root struct {
	// The directory: a CID in any spelling, an IPNS key or a domain with a
	// DNSLink. To name it here is to allow it, whatever `names` says; what it
	// stands for is looked up, and may be cached, as there.
	Address string `json:"address,omitempty"`

	// The registries that the images are from. containerd says which one it wants
	// an image of when it asks a mirror (`?ns=<host>`); images of others than
	// these and of this host are not found then. `library/` is left out of
	// names where `docker.io` is meant.
	//
	// The directory does not tell where an image is from, so of several hosts each
	// is one that all images in it are from as far as clients can tell: name
	// several only if no two of them have different images of one name. Docker
	// asks its `registry-mirrors` for images of `docker.io` only, and does not
	// say so. A server that is one must have a root with nothing else in it.
	//
	// Default: none. Then `?ns=` of any host but this is not found.
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
