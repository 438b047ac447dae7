package caddymodule

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// Blobs says how blobs that are not in the store reach clients.
type Blobs struct {
	// Either `proxy`, through this server, or `redirect`: clients are sent to a gateway,
	// which saves this server the traffic. They verify the blobs themselves. Manifests
	// are never redirected. Default: `proxy`.
	Mode string `json:"mode,omitempty"`

	// The URL of the gateway that clients are redirected to. They must be able to reach
	// it. Global placeholders are replaced. Default: the first upstream.
	Gateway string `json:"gateway,omitempty"`
}

const (
	modeProxy    = "proxy"
	modeRedirect = "redirect"
)

func (b *Blobs) provision(groups []gateway.Group) (*url.URL, error) {
	if b.Mode == "" {
		b.Mode = modeProxy
	}
	if b.Gateway != "" {
		address, err := caddy.NewReplacer().ReplaceOrErr(b.Gateway, true, true)
		if err != nil {
			return nil, fmt.Errorf("invalid gateway '%s': %w", b.Gateway, err)
		}
		u, err := gateway.ParseUpstream(address, "http")
		if err != nil {
			return nil, fmt.Errorf("invalid gateway: %w", err)
		}
		return u, nil
	}
	if b.Mode == modeRedirect && len(groups) > 0 {
		return groups[0].Upstreams[0], nil
	}
	return nil, nil
}

func (b *Blobs) validate(target *url.URL) error {
	switch {
	case b.Mode != modeProxy && b.Mode != modeRedirect:
		return fmt.Errorf("unknown mode of blobs '%s': write '%s' or '%s'", b.Mode, modeProxy, modeRedirect)
	case b.Mode == modeProxy && b.Gateway != "":
		return fmt.Errorf("a gateway for blobs needs the mode '%s'", modeRedirect)
	case b.Mode == modeRedirect && target == nil:
		return errors.New("no gateway to redirect blobs to")
	}
	return nil
}
