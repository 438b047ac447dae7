package origin

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// FromGateways reads from HTTP gateways, which take turns and stand in for one
// another. Their addresses are URLs.
func FromGateways(addresses []string) (Origin, error) {
	var upstreams []*url.URL
	for _, address := range addresses {
		u, err := trustless.ParseUpstream(address, "https")
		if err != nil {
			return Origin{}, err
		}
		upstreams = append(upstreams, u)
	}
	pool := trustless.NewPool(trustless.Group{Upstreams: upstreams, Transport: gatewayTransport()})
	session := trustless.Session{Client: trustless.NewClient(pool)}
	return Origin{atGateways{session, strings.Join(addresses, " ")}}, nil
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
	session   trustless.Session
	addresses string
}

func (p atGateways) block(ctx context.Context, c cid.Cid) ([]byte, error) {
	return p.session.Block(ctx, c)
}

func (p atGateways) open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(p.session.Copy(ctx, f.CID, "", nil, pipe{w}))
	}()
	return &gatewayFile{r, cancel}, nil
}

func (p atGateways) Close() error   { return nil }
func (p atGateways) String() string { return p.addresses }

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
