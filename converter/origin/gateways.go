package origin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// FromGateways reads from HTTP gateways, which take turns and stand in for one
// another. Their addresses are URLs, or host:port for http. warnf is told of each that lies while another
// does not, once.
func FromGateways(addresses []string, warnf func(format string, args ...any)) (Origin, error) {
	var upstreams []*url.URL
	for _, address := range addresses {
		u, err := gateway.ParseUpstream(address, "http")
		if err != nil {
			return Origin{}, err
		}
		upstreams = append(upstreams, u)
	}
	pool := gateway.NewPool(gateway.Group{Upstreams: upstreams, Transport: gatewayTransport()})
	return Origin{&atGateways{client: trustless.NewClient(pool), addresses: strings.Join(addresses, " "), warnf: warnf}}, nil
}

// gatewayTransport leaves to the kernel what is not read yet, which HTTP/2 would
// not, and takes no header that is longer than any gateway's.
func gatewayTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

type atGateways struct {
	client    *trustless.Client
	addresses string

	warnf func(format string, args ...any)
	liars sync.Map // by URL: those that warnf was told of
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
			return s.Copy(ctx, f.CID, "", nil, pipe{w})
		}))
	}()
	return &gatewayFile{r, cancel}, nil
}

// ask has something done with gateways. Where none of them could do it, the error
// says what each did wrong; where one could, nobody would know that another lied.
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
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	for _, f := range lies {
		if _, known := p.liars.LoadOrStore(f.Gateway, true); !known {
			p.warnf("gateway %s sends false content, of which nothing is used: %v", f.Gateway, f.Err)
		}
	}
	return nil
}

func (p *atGateways) Close() error   { return nil }
func (p *atGateways) String() string { return p.addresses }

// pipe is a trustless.Sink.
type pipe struct{ io.Writer }

func (pipe) Start(_, _, _ int64) {}

// A gatewayFile is a file on its way from a gateway.
type gatewayFile struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (f *gatewayFile) Close() error {
	f.cancel()
	return f.PipeReader.Close()
}
