package abuse

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// An arena is where one attack is played: a registry, the attacker's gateway and the
// honest one.
type arena struct {
	t      *testing.T
	attack attack
	dag    // of the attacker
	site   *site

	gateway   *gateway // the attacker's
	honest    *honest
	attacking atomic.Bool // false while the honest client is alone

	root  string          // of the registry; may be empty
	first func(*stranger) // what a client does once, before all else; may be nil
}

// attackRate is how many bytes a second the attacker's gateway gives to each answer, unless
// the attack says otherwise. At a higher rate, the attacker would take the processors of this
// machine, where everything runs, and not those of the registry.
const attackRate = 16 << 20

func newArena(t *testing.T, a attack) *arena {
	d := dag{}
	r := &arena{t: t, attack: a, dag: d, gateway: newGateway(t, d), honest: newHonest(t)}
	r.gateway.rate = attackRate
	return r
}

// open starts the registry.
func (r *arena) open() {
	options := r.attack.options
	if r.root != "" {
		options += "\nroot " + r.root
	}
	r.site = newSite(r.t, r.attack.store, options, r.gateway.URL, r.honest.url)
	if r.first != nil {
		r.first(r.stranger(r.t, singleTime, 0))
	}
}

// A stranger is a client that attacks.
type stranger struct {
	http.Client
	number int // 0 for the one that is alone
	asked  int // requests, where it counts them
	url    string
	wire   atomic.Int64 // bytes, both ways
	ctx    context.Context
	leave  func()
}

func (r *arena) stranger(t *testing.T, patience time.Duration, number int) *stranger {
	s := &stranger{number: number, url: r.site.URL}
	transport := &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			return wire{c, &s.wire}, err
		},
	}
	s.Transport = transport
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	s.ctx = ctx
	s.leave = func() { cancel(); transport.CloseIdleConnections() }
	return s
}

// A wire counts the bytes of a connection.
type wire struct {
	net.Conn
	n *atomic.Int64
}

func (w wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.n.Add(int64(n))
	return n, err
}

func (w wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// ask sends a request, whose header has the given names and values in turns, and hands
// the body of the answer to read. Errors are what an attacker expects.
func (s *stranger) ask(method, path string, read func(io.Reader), header ...string) {
	req, err := http.NewRequestWithContext(s.ctx, method, s.url+path, nil)
	if err != nil {
		panic(err) // the path is no URL's
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := s.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	read(resp.Body)
}

// get asks for a path and reads all of the answer.
func (s *stranger) get(path string, header ...string) { s.ask(http.MethodGet, path, drain, header...) }

func drain(body io.Reader) { io.Copy(io.Discard, body) }

// take asks for a path and leaves after so many bytes of the answer.
func (s *stranger) take(n int64, path string) {
	s.ask(http.MethodGet, path, func(body io.Reader) { io.CopyN(io.Discard, body, n) })
}

// head asks for the header of a path.
func (s *stranger) head(path string) { s.ask(http.MethodHead, path, drain) }

// stall asks for a path and then reads nothing until it must leave.
func (s *stranger) stall(path string, header ...string) {
	s.ask(http.MethodGet, path, func(io.Reader) { <-s.ctx.Done() }, header...)
}
