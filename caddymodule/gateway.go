package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// Gateway is a group of IPFS gateways that are as good as one another. They take
// turns, and stand in for each other.
type Gateway struct {
	// The addresses of the gateways: `http` or `https` URLs, with the path that
	// `/ipfs/` is below if that is not the root. `host:port` is short for an
	// `http` URL, or for `https` where the transport has TLS enabled.
	Upstreams []string `json:"upstreams,omitempty"`

	// How to connect to them: a transport of the `reverse_proxy` handler.
	// Default: `http`, with its defaults. TLS is used for `https` upstreams
	// without being enabled here.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
}

func (g *Gateway) provision(ctx caddy.Context) (trustless.Group, error) {
	if len(g.Upstreams) == 0 {
		return trustless.Group{}, errors.New("no upstreams")
	}
	if len(g.TransportRaw) == 0 {
		g.TransportRaw = json.RawMessage(`{"protocol":"http"}`)
	}
	module, err := ctx.LoadModule(g, "TransportRaw")
	if err != nil {
		return trustless.Group{}, fmt.Errorf("loading transport: %w", err)
	}
	rt, ok := module.(http.RoundTripper)
	if !ok {
		return trustless.Group{}, fmt.Errorf("the transport %T is not a RoundTripper", module)
	}
	if t, ok := module.(reverseproxy.ProxyProtocolTransport); ok && t.ProxyProtocolEnabled() {
		return trustless.Group{}, errors.New("proxy_protocol has no use here, since gateways are told nothing about clients")
	}

	group := trustless.Group{Transport: transport{rt}}
	scheme := "http"
	t, ok := module.(reverseproxy.TLSTransport)
	secure := ok && t.TLSEnabled()
	if secure {
		scheme = "https"
	}
	for _, s := range g.Upstreams {
		u, err := trustless.ParseUpstream(s, scheme)
		if err != nil {
			return trustless.Group{}, fmt.Errorf("invalid upstream: %w", err)
		}
		if secure && u.Scheme == "http" {
			return trustless.Group{}, fmt.Errorf("upstream %s is plain HTTP, but the transport has TLS enabled", u)
		}
		group.Upstreams = append(group.Upstreams, u)
	}
	return group, nil
}

// transport keeps a transport of reverse_proxy and the client's request apart:
// it would take the address to dial from the request's variables, and write to
// them from goroutines of its own.
type transport struct{ http.RoundTripper }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := context.WithValue(req.Context(), caddyhttp.VarsCtxKey, map[string]any{})
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	return t.RoundTripper.RoundTrip(req.WithContext(ctx))
}

// Blobs says how blobs that are not in the store reach clients.
type Blobs struct {
	// Either `proxy`, through this server, or `redirect`: clients are sent to a
	// gateway, which costs this server no traffic, and clients check what they
	// get. Manifests are never redirected. Default: `proxy`.
	Mode string `json:"mode,omitempty"`

	// The URL of the gateway that clients are redirected to, which they must be
	// able to reach. Default: the first upstream.
	Gateway string `json:"gateway,omitempty"`
}

const (
	modeProxy    = "proxy"
	modeRedirect = "redirect"
)

func (b *Blobs) provision(groups []trustless.Group) (*url.URL, error) {
	if b.Mode == "" {
		b.Mode = modeProxy
	}
	if b.Gateway != "" {
		u, err := trustless.ParseUpstream(b.Gateway, "http")
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
		return fmt.Errorf("unknown mode of blobs '%s': it is '%s' or '%s'", b.Mode, modeProxy, modeRedirect)
	case b.Mode == modeProxy && b.Gateway != "":
		return fmt.Errorf("a gateway for blobs is of use in mode '%s' only", modeRedirect)
	case b.Mode == modeRedirect && target == nil:
		return errors.New("no gateway to redirect blobs to")
	}
	return nil
}
