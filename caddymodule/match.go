package caddymodule

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

func init() {
	caddy.RegisterModule(MatchImage{})
}

// MatchImage matches requests to a registry for the images at certain addresses, in every
// spelling in which a registry serves them. A `path` matcher would match one spelling only:
// a CID has several, and `ipfs/` may come before it.
//
//	@secret ipfs_image ciq… k51… images.example.com
//	basic_auth @secret {
//		alice $2a$14$…
//	}
//
// The path of the request decides. An image in a directory of another address is not
// matched: the option `allow` of the registry keeps it from being served there. Names are
// not resolved, so the name of a guarded address must be listed as well. Plain names, below
// the registry's `root`, are matched by `path`.
type MatchImage struct {
	// The addresses: `<cid>`, an IPNS key or a domain, each with all images below it, or
	// followed by `/<name>` with the images of that name and below it.
	Addresses []string `json:"addresses,omitempty"`

	addresses []registry.Address
}

// CaddyModule returns the Caddy module information.
func (MatchImage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.ipfs_image",
		New: func() caddy.Module { return new(MatchImage) },
	}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	ipfs_image <addresses...>
func (m *MatchImage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		addresses := d.RemainingArgs()
		if len(addresses) == 0 {
			return d.ArgErr()
		}
		for _, address := range addresses {
			if _, err := registry.ParseAddress(address); err != nil {
				return d.Errf("invalid address: %v", err)
			}
		}
		m.Addresses = append(m.Addresses, addresses...)
		if d.NextBlock(0) {
			return d.Err("ipfs_image has no block: write the addresses on its line")
		}
	}
	return nil
}

// Provision reads the addresses.
func (m *MatchImage) Provision(caddy.Context) error {
	if len(m.Addresses) == 0 {
		return errors.New("ipfs_image has no address")
	}
	for _, s := range m.Addresses {
		address, err := registry.ParseAddress(s)
		if err != nil {
			return fmt.Errorf("invalid address: %w", err)
		}
		m.addresses = append(m.addresses, address)
	}
	return nil
}

// MatchWithError reports whether a request is for an image at one of the addresses.
func (m MatchImage) MatchWithError(r *http.Request) (bool, error) {
	for _, address := range m.addresses {
		if address.Contains(r.URL) {
			return true, nil
		}
	}
	return false, nil
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchImage)(nil)
	_ caddyfile.Unmarshaler             = (*MatchImage)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchImage)(nil)
)
