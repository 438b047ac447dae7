package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// Gateway is a group of IPFS gateways that are as good as one another. They take
// turns, and stand in for each other.
type Gateway struct {
	// The addresses of the gateways: `http` or `https` URLs, with the path that
	// `/ipfs/` is below if that is not the root. `host:port` is short for an
	// `http` URL, or for `https` where the transport has TLS enabled.
	Upstreams []string `json:"upstreams,omitempty"`

	// How to connect to them: the `http` transport of the `reverse_proxy` handler,
	// with its options and defaults but for `max_response_header_size`, 64 KiB here,
	// and `versions`, whose default here is `["1.1"]`: over HTTP/2, up to 4 MiB are
	// read ahead for every client that is slow. Its placeholders `{http.reverse_proxy.upstream.address}`, `.hostport`,
	// `.host` and `.port` are those of the gateway that is asked; there are none
	// of the client's request. TLS is used for `https` upstreams without being
	// enabled here.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	transport *http.Transport
}

func (g *Gateway) provision(ctx caddy.Context) (gateway.Group, error) {
	if len(g.Upstreams) == 0 {
		return gateway.Group{}, errors.New("no upstreams")
	}
	var err error
	g.TransportRaw, err = withDefaults(g.TransportRaw)
	if err != nil {
		return gateway.Group{}, fmt.Errorf("setting up transport: %w", err)
	}
	module, err := ctx.LoadModule(g, "TransportRaw")
	if err != nil {
		return gateway.Group{}, fmt.Errorf("loading transport: %w", err)
	}
	rt, ok := module.(*reverseproxy.HTTPTransport)
	if !ok {
		return gateway.Group{}, fmt.Errorf("the transport is a %T", module)
	}
	if rt.ProxyProtocolEnabled() {
		return gateway.Group{}, errors.New("proxy_protocol has no use here, since gateways are told nothing about clients")
	}

	g.transport = rt.Transport
	group := gateway.Group{Transport: transport{rt}}
	scheme := "http"
	secure := rt.TLSEnabled()
	if secure {
		scheme = "https"
	}
	for _, s := range g.Upstreams {
		u, err := gateway.ParseUpstream(s, scheme)
		if err != nil {
			return gateway.Group{}, fmt.Errorf("invalid upstream: %w", err)
		}
		if secure && u.Scheme == "http" {
			return gateway.Group{}, fmt.Errorf("upstream %s is plain HTTP, but the transport has TLS enabled", u)
		}
		group.Upstreams = append(group.Upstreams, u)
	}
	return group, nil
}

// protocol is the one transport there is. What the others say to their upstreams
// they take from the client's request.
const protocol = "http"

// withDefaults returns the configuration of a transport with our defaults.
//
// Over HTTP/2, Go reads up to 4 MiB of each answer ahead, and has no option to read
// less: 32 clients that read nothing made the heap grow by 127 MiB, and by 21 over
// HTTP/1.1, which leaves the rest to the kernel. There are few requests at a time on
// one connection here, which is what HTTP/2 is good for.
func withDefaults(transport json.RawMessage) (json.RawMessage, error) {
	config := map[string]json.RawMessage{"protocol": json.RawMessage(`"` + protocol + `"`)}
	if len(transport) > 0 {
		if err := json.Unmarshal(transport, &config); err != nil {
			return nil, err
		}
	}
	if p := string(config["protocol"]); p != `"`+protocol+`"` {
		return nil, fmt.Errorf("unknown transport %s: gateways are reached by '%s'", p, protocol)
	}
	if _, ok := config["versions"]; !ok {
		config["versions"] = json.RawMessage(`["1.1"]`)
	}
	if _, ok := config["max_response_header_size"]; !ok {
		config["max_response_header_size"] = json.RawMessage(`65536`)
	}
	return json.Marshal(config)
}

// transport keeps a transport of reverse_proxy and the client's request apart:
// it would take the address to dial from the request's variables, and write to
// them from goroutines of its own.
type transport struct{ *reverseproxy.HTTPTransport }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	port := req.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[req.URL.Scheme]
	}
	address := net.JoinHostPort(req.URL.Hostname(), port)
	repl := caddy.NewReplacer()
	repl.Set("http.reverse_proxy.upstream.address", address)
	repl.Set("http.reverse_proxy.upstream.hostport", address)
	repl.Set("http.reverse_proxy.upstream.host", req.URL.Hostname())
	repl.Set("http.reverse_proxy.upstream.port", port)
	return t.HTTPTransport.RoundTrip(req.WithContext(&bare{req.Context(), repl, map[string]any{}}))
}

// bare is a context with nothing of a request's but its end.
type bare struct {
	context.Context
	replacer *caddy.Replacer
	vars     map[string]any
}

// Value implements context.Context.
func (b *bare) Value(key any) any {
	switch key {
	case caddy.ReplacerCtxKey:
		return b.replacer
	case caddyhttp.VarsCtxKey:
		return b.vars
	}
	return nil
}

// AfterFunc spares package context a goroutine for each context derived from
// this one.
func (b *bare) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(b.Context, f) }
