package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// Gateway is a group of equivalent IPFS gateways. They take turns, and stand in for each
// other.
type Gateway struct {
	// The addresses of the gateways: `http` or `https` URLs, with a path if `/ipfs/` is
	// not at the root. `host:port` is short for an `http` URL, or for `https` if the
	// transport has TLS enabled. A Unix socket
	// is written `unix//run/kubo.sock`; logs and metrics show it as
	// `http://run-kubo.sock`. Global placeholders such as `{env.GATEWAY}` are replaced
	// when the configuration is loaded.
	Upstreams []string `json:"upstreams,omitempty"`

	// Header fields that are sent to these gateways with each request, such as an
	// `Authorization`. Global placeholders in the values are replaced when the
	// configuration is loaded: write `{env.TOKEN}` or `{file./run/secrets/token}` to
	// keep secrets out of the configuration. Values appear in no log, error or metric,
	// and are not sent to hosts that a gateway redirects to.
	Headers map[string]string `json:"headers,omitempty"`

	// How to connect to them: the `http` transport of the `reverse_proxy` handler, with
	// its options and defaults, except for two defaults: `max_response_header_size` is
	// 64 KiB, and `versions` is `["1.1"]`, because over HTTP/2 up to 4 MiB are read ahead
	// for every slow client. The placeholders `{http.reverse_proxy.upstream.address}`,
	// `.hostport`, `.host` and `.port` are those of the requested gateway; placeholders of
	// the client's request are empty. `https` upstreams use TLS without enabling it here.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
}

// provision returns the group, and the transport that holds its connections.
func (g *Gateway) provision(ctx caddy.Context) (gateway.Group, *http.Transport, error) {
	rt, err := g.loadTransport(ctx)
	if err != nil {
		return gateway.Group{}, nil, err
	}
	if len(g.Upstreams) == 0 {
		return gateway.Group{}, nil, errors.New("no upstreams")
	}
	t := transport{HTTPTransport: rt, hosts: map[string]bool{}, sockets: map[string]string{}}
	if t.header, err = g.header(); err != nil {
		return gateway.Group{}, nil, err
	}
	group := gateway.Group{Transport: t}
	for _, s := range g.Upstreams {
		u, err := t.add(s)
		if err != nil {
			return gateway.Group{}, nil, fmt.Errorf("invalid upstream: %w", err)
		}
		group.Upstreams = append(group.Upstreams, u)
	}
	return group, rt.Transport, nil
}

func (g *Gateway) loadTransport(ctx caddy.Context) (*reverseproxy.HTTPTransport, error) {
	var err error
	g.TransportRaw, err = withDefaults(g.TransportRaw)
	if err != nil {
		return nil, fmt.Errorf("setting up transport: %w", err)
	}
	module, err := ctx.LoadModule(g, "TransportRaw")
	if err != nil {
		return nil, fmt.Errorf("loading transport: %w", err)
	}
	rt, ok := module.(*reverseproxy.HTTPTransport)
	if !ok {
		return nil, fmt.Errorf("the transport is a %T", module)
	}
	if rt.ProxyProtocolEnabled() {
		return nil, errors.New("proxy_protocol is not supported: gateways learn nothing about clients; remove it")
	}
	return rt, nil
}

// header returns the header fields with their placeholders replaced. Errors name the
// field, not its value.
func (g *Gateway) header() (http.Header, error) {
	header := http.Header{}
	for name, value := range g.Headers {
		if err := checkHeaderName(name); err != nil {
			return nil, err
		}
		value, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
		if err != nil {
			return nil, fmt.Errorf("header %s: a placeholder in its value is unknown or empty", name)
		}
		if value = strings.TrimSpace(value); strings.ContainsFunc(value, unicode.IsControl) {
			return nil, fmt.Errorf("header %s: its value has characters that are not allowed in headers", name)
		}
		header.Set(name, value)
	}
	return header, nil
}

var fieldName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// checkHeaderName returns an error if a header field cannot be configured.
func checkHeaderName(name string) error {
	switch http.CanonicalHeaderKey(name) {
	case "Accept", "Accept-Encoding", "Range", "Host", "Connection", "Content-Length", "Transfer-Encoding":
		return fmt.Errorf("header %s: the registry sets it itself", name)
	}
	if !fieldName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a header field", name)
	}
	return nil
}

// checkUpstream returns an error if an address cannot be a gateway's. An address with
// placeholders is checked when they are replaced.
func checkUpstream(s string) error {
	if strings.Contains(s, "{") {
		return nil
	}
	if isSocket(s) {
		_, _, err := parseSocket(s)
		return err
	}
	_, err := gateway.ParseUpstream(s, "http")
	return err
}

func isSocket(s string) bool { return strings.HasPrefix(s, "unix/") || strings.HasPrefix(s, "unix:") }

var notInHost = regexp.MustCompile(`[^a-z0-9.]+`)

// parseSocket returns the path of a Unix socket, and the host that stands for it in URLs,
// where names have no slashes.
func parseSocket(s string) (path, host string, err error) {
	path, ok := strings.CutPrefix(s, "unix/")
	host = strings.Trim(notInHost.ReplaceAllString(strings.ToLower(path), "-"), "-.")
	if !ok || !strings.HasPrefix(path, "/") || host == "" {
		return "", "", fmt.Errorf("%s: a Unix socket is written unix//path/to.sock", s)
	}
	return path, host, nil
}

// protocol is the only supported transport. The other transports build their requests
// from the client's request.
const protocol = "http"

// withDefaults returns the configuration of a transport with our defaults.
//
// Over HTTP/2, Go reads up to 4 MiB of each answer ahead, and has no option to read
// less: 32 clients that read nothing made the heap grow by 127 MiB. Over HTTP/1.1, which
// leaves the rest to the kernel, it grew by 21 MiB. HTTP/2 would help with many
// concurrent requests on one connection, which are rare here.
func withDefaults(transport json.RawMessage) (json.RawMessage, error) {
	config := map[string]json.RawMessage{"protocol": json.RawMessage(`"` + protocol + `"`)}
	if len(transport) > 0 {
		if err := json.Unmarshal(transport, &config); err != nil {
			return nil, err
		}
	}
	if p := string(config["protocol"]); p != `"`+protocol+`"` {
		return nil, fmt.Errorf("unknown transport %s: gateways support only '%s'", p, protocol)
	}
	if _, ok := config["versions"]; !ok {
		config["versions"] = json.RawMessage(`["1.1"]`)
	}
	if _, ok := config["max_response_header_size"]; !ok {
		config["max_response_header_size"] = json.RawMessage(`65536`)
	}
	return json.Marshal(config)
}

// transport keeps reverse_proxy's transport away from the client's request. Otherwise it
// would take the address to dial from the request's variables, and write to them from its
// own goroutines.
type transport struct {
	*reverseproxy.HTTPTransport
	header  http.Header       // to send to the gateways
	hosts   map[string]bool   // of the gateways, as they are in URLs
	sockets map[string]string // paths of the Unix sockets among them, by host
}

// add adds a gateway by its address, and returns its URL.
func (t transport) add(address string) (*url.URL, error) {
	address, err := caddy.NewReplacer().ReplaceOrErr(address, true, true)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if t.TLSEnabled() {
		scheme = "https"
	}
	socket := ""
	if isSocket(address) {
		path, host, err := parseSocket(address)
		if err != nil {
			return nil, err
		}
		if other, taken := t.sockets[host]; taken && other != path {
			return nil, fmt.Errorf("%s would look like unix/%s in logs: rename one of the sockets", address, other)
		}
		address, socket = scheme+"://"+host, path
	}
	u, err := gateway.ParseUpstream(address, scheme)
	if err != nil {
		return nil, err
	}
	if t.TLSEnabled() && u.Scheme == "http" {
		return nil, fmt.Errorf("upstream %s is plain HTTP, but the transport has TLS enabled", u)
	}
	t.hosts[u.Host] = true
	if socket != "" {
		t.sockets[u.Host] = socket
	}
	return u, nil
}

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
	req = req.WithContext(&bare{req.Context(), repl, map[string]any{}, t.sockets[req.URL.Host]})
	if len(t.header) > 0 && t.hosts[req.URL.Host] {
		req.Header = req.Header.Clone()
		maps.Copy(req.Header, t.header)
	}
	return t.HTTPTransport.RoundTrip(req)
}

// bare is a context that keeps only the cancellation of a request's context.
type bare struct {
	context.Context
	replacer *caddy.Replacer
	vars     map[string]any
	socket   string // to dial in place of the request's host, if any
}

// dialInfoKey is the key under which reverse_proxy's transport looks up the address to dial.
const dialInfoKey caddy.CtxKey = "reverse_proxy.dial_info"

// Value implements context.Context.
func (b *bare) Value(key any) any {
	switch key {
	case caddy.ReplacerCtxKey:
		return b.replacer
	case caddyhttp.VarsCtxKey:
		return b.vars
	case dialInfoKey:
		if b.socket != "" {
			return reverseproxy.DialInfo{Network: "unix", Address: b.socket}
		}
	}
	return nil
}

// AfterFunc spares package context a goroutine for each context derived from
// this one.
func (b *bare) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(b.Context, f) }
