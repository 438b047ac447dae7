package abuse

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
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
	r.site = newSite(r.t, r.attack.store, options, r.gateway.URL, r.honest.URL)
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

// honest is an honest client, and a gateway with the image that it pulls.
type honest struct {
	*gateway
	repository string
	blobs      []string
	pulled     int // blobs
}

const (
	honestBlobs = 96
	honestBlob  = 1 << 20 // bytes
	honestLeaf  = 256 << 10
	honestRate  = 4 << 20 // bytes a second of one answer
)

var honestDAG = sync.OnceValues(func() (dag, []string) {
	d := dag{}
	var blobs []link
	var digests []string
	for i := range honestBlobs {
		content := noise(i, honestBlob)
		var leaves []link
		for at := 0; at < honestBlob; at += honestLeaf {
			leaves = append(leaves, d.raw(content[at:at+honestLeaf]))
		}
		digests = append(digests, digest(content))
		blobs = append(blobs, d.file(leaves...).named(digests[i]))
	}
	root := d.image([]link{d.small(manifestOf(digests...)).named("v1")}, blobs)
	return d, append([]string{root.cid.String()}, digests...)
})

func newHonest(t *testing.T) *honest {
	d, names := honestDAG()
	g := newGateway(t, d)
	g.rate = honestRate
	return &honest{gateway: g, repository: names[0], blobs: names[1:]}
}

// blob is the URL of a blob.
func (h *honest) blob(s *site, i int) string {
	return s.URL + "/v2/" + h.repository + "/blobs/" + h.blobs[i%len(h.blobs)]
}

// use pulls the one blob that no other pull wants.
func (h *honest) use(t *testing.T, s *site) {
	t.Helper()
	for range 2 {
		harness.Get(t, h.blob(s, 0))
	}
}

// isGone reports whether that blob has to be fetched again.
func (h *honest) isGone(t *testing.T, s *site) bool {
	t.Helper()
	before := h.sent.Load()
	harness.Get(t, h.blob(s, 0))
	return h.sent.Load() > before
}

// honestClient has another address than the strangers.
var honestClient = &http.Client{Transport: &http.Transport{
	DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
}}

// A pulling is an honest client that pulls one blob after the other.
type pulling struct {
	bytes  atomic.Int64
	began  time.Time
	cancel context.CancelFunc
	ended  chan struct{}
}

func (h *honest) pull(t *testing.T, s *site) *pulling {
	ctx, cancel := context.WithCancel(t.Context())
	p := &pulling{began: time.Now(), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for ctx.Err() == nil {
			h.pulled++
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.blob(s, h.pulled), nil)
			if err != nil {
				panic(err)
			}
			resp, err := honestClient.Do(req)
			if err != nil {
				continue
			}
			io.Copy(p, resp.Body)
			resp.Body.Close()
		}
	}()
	return p
}

// Write implements io.Writer.
func (p *pulling) Write(b []byte) (int, error) {
	p.bytes.Add(int64(len(b)))
	return len(b), nil
}

// stop ends the client, and returns how many bytes a second it got.
func (p *pulling) stop() float64 {
	p.cancel()
	<-p.ended
	return float64(p.bytes.Load()) / time.Since(p.began).Seconds()
}
