package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Gateway is an IPFS gateway that need not be trusted.
type Gateway struct {
	URL    string      // or host:port for http, or unix//path of a Unix socket
	Header http.Header // added to each request to this gateway, and to no other
}

// FromGateways reads from gateways, which take turns and stand in for one another.
// warnf is called once for each gateway that lies while another one does not.
func FromGateways(gateways []Gateway, warnf func(format string, args ...any)) (Origin, error) {
	p := &atGateways{warnf: warnf, probes: map[string]func() error{}}
	sockets := map[string]string{}
	t := headerTransport{RoundTripper: gatewayTransport(sockets)}
	for _, g := range gateways {
		u, err := parseGateway(g.URL, sockets)
		if err != nil {
			return Origin{}, err
		}
		t.upstreams = append(t.upstreams, u)
		t.headers = append(t.headers, g.Header)
		p.names = append(p.names, u.String())
		p.probes[u.String()] = sync.OnceValue(func() error { return probe(t, u) })
	}
	pool := gateway.NewPool(gateway.Config{Groups: []gateway.Group{{Upstreams: t.upstreams, Transport: t}}})
	p.client = trustless.NewClient(trustless.Config{Pool: pool})
	return newOrigin(p), nil
}

// parseGateway reads the address of a gateway. A Unix socket gets a host name that
// shows its path, with which it is put into sockets.
func parseGateway(address string, sockets map[string]string) (*url.URL, error) {
	path, ok := strings.CutPrefix(address, "unix/")
	if !ok {
		return gateway.ParseUpstream(address, "http")
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("the path of a Unix socket begins with a slash: unix//%s", path)
	}
	host := "unix" + strings.ReplaceAll(path, "/", ".")
	key := net.JoinHostPort(host, "80")
	if other, taken := sockets[key]; taken {
		return nil, fmt.Errorf("the gateways unix/%s and unix/%s cannot be told apart", other, path)
	}
	sockets[key] = path
	return &url.URL{Scheme: "http", Host: host}, nil
}

// gatewayTransport returns a transport that leaves unread data to the kernel, which
// HTTP/2 would not, and bounds response headers. It dials the sockets by host:port.
func gatewayTransport(sockets map[string]string) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxResponseHeaderBytes = 64 << 10
	dial, proxy := t.DialContext, t.Proxy
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if path, ok := sockets[address]; ok {
			network, address = "unix", path
		}
		return dial(ctx, network, address)
	}
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if _, ok := sockets[net.JoinHostPort(req.URL.Host, "80")]; ok {
			return nil, nil
		}
		return proxy(req)
	}
	return t
}

// A headerTransport adds to each request the header of the gateway that it is for,
// also where that gateway redirects to a subdomain of its own.
type headerTransport struct {
	http.RoundTripper
	upstreams []*url.URL
	headers   []http.Header // by index of upstreams
}

func (t headerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if i := t.gatewayOf(req.URL); i >= 0 && len(t.headers[i]) > 0 {
		req = req.Clone(req.Context())
		maps.Copy(req.Header, t.headers[i])
	}
	return t.RoundTripper.RoundTrip(req)
}

// gatewayOf returns the index of the gateway that a URL belongs to, or -1. One gateway may
// be a subdomain of another, or below its path, so the longest address counts.
func (t headerTransport) gatewayOf(u *url.URL) int {
	found, longest := -1, 0
	for i, g := range t.upstreams {
		length := 0
		switch {
		case u.Host == g.Host && strings.HasPrefix(u.Path, g.Path+"/"):
			length = len(g.Host + g.Path)
		case strings.HasSuffix(u.Host, "."+g.Host):
			length = len(g.Host)
		}
		if length > longest {
			found, longest = i, length
		}
	}
	return found
}

type atGateways struct {
	client *trustless.Client
	names  []string
	probes map[string]func() error // by URL: what is there instead of a gateway, asked once

	warnf func(format string, args ...any)
	liars sync.Map // by URL: those that warnf was called for
}

func (p *atGateways) block(ctx context.Context, c cid.Cid) (data []byte, err error) {
	err = p.ask(func(s trustless.Session) error {
		data, err = s.Block(ctx, c)
		return err
	})
	return data, err
}

func (p *atGateways) open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(p.ask(func(s trustless.Session) error {
			return s.Copy(ctx, ipfspath.Place{Root: f.CID}, nil, pipe{w})
		}))
	}()
	return &gatewayFile{r, cancel}, nil
}

// ask calls do, which asks gateways. If none of them can answer, the error says what
// each did wrong. If one can, the others that lied are reported to warnf.
func (p *atGateways) ask(do func(trustless.Session) error) error {
	var mu sync.Mutex
	var lies []gateway.Failure
	err := do(trustless.Session{Client: p.client, Failed: func(f gateway.Failure) {
		mu.Lock()
		defer mu.Unlock()
		if errors.Is(f, ErrCorrupt) {
			lies = append(lies, f)
		}
	}})
	if err != nil {
		return p.explain(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, f := range lies {
		if _, known := p.liars.LoadOrStore(f.Gateway, true); !known {
			p.warnf("gateway %s sends false content, which is not used: %v", f.Gateway, f.Err)
		}
	}
	return nil
}

// explain returns what is at the address of a gateway that failed, if that is another
// service, and err otherwise.
func (p *atGateways) explain(err error) error {
	failed, ok := errors.AsType[gateway.Error](err)
	if !ok {
		return err
	}
	for _, f := range failed {
		if other := p.probes[f.Gateway]; other != nil {
			if found := other(); found != nil {
				return found
			}
		}
	}
	return err
}

func (p *atGateways) Close() error   { return nil }
func (p *atGateways) String() string { return strings.Join(p.names, " ") }

// A pipe is a trustless.Sink.
type pipe struct{ io.Writer }

func (pipe) Start(trustless.File, int64, int64) {}

// A gatewayFile is the content of a file while a gateway sends it.
type gatewayFile struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (f *gatewayFile) Close() error {
	f.cancel()
	return f.PipeReader.Close()
}
