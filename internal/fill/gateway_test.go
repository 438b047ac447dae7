package fill

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An image is a published directory of blobs.
type image struct {
	root   cid.Cid
	blobs  map[string][]byte // by path
	blocks map[string][]byte // above leaves, by multihash
}

// leafLen is how many bytes a leaf of an image has.
const leafLen = 16 << 10

// publish publishes blobs under digests, which may be false.
func publish(t testing.TB, blobs map[digest.Digest][]byte) *image {
	t.Helper()
	p := unixfs.V1
	im := &image{blobs: map[string][]byte{}, blocks: map[string][]byte{}}
	put := func(b unixfs.Block) { im.blocks[string(b.CID.Hash())] = b.Data }
	files := map[string]unixfs.Node{}
	for d, content := range blobs {
		table := p.NewTable()
		for leaf := range slices.Chunk(content, leafLen) {
			table.Add(leaf)
			if len(content) <= leafLen {
				put(table.Block(0, leaf))
			}
		}
		f, err := p.Layout(table)
		check(t, err)
		for _, nd := range f.Nodes {
			put(nd)
		}
		at := "blobs/" + d.String()
		files[at], im.blobs[at] = f.Node, content
	}
	root, err := p.Tree(context.Background(), files, func(b unixfs.Block) error {
		put(b)
		return nil
	})
	check(t, err)
	im.root = root.CID
	return im
}

// one publishes one blob.
func one(t testing.TB, content []byte) (*image, Blob) {
	d := digest.FromBytes(content)
	im := publish(t, map[digest.Digest][]byte{d: content})
	return im, im.blob(d)
}

func (im *image) blob(d digest.Digest) Blob {
	return Blob{Place: ipfspath.Place{Root: im.root, Path: "blobs/" + d.String()}, Digest: d}
}

// A testGateway serves images over HTTP.
type testGateway struct {
	images  []*image
	body    func(io.ReadSeeker) io.ReadSeeker // changes the bytes of a blob; may be nil
	limiter *limiter                          // may be nil
	bytes   atomic.Int64                      // bytes of blobs that it sent
	asked   atomic.Int64                      // requests for blobs
	all     atomic.Int64                      // requests
	dead    atomic.Bool
}

func (g *testGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.all.Add(1)
	if g.dead.Load() {
		panic(http.ErrAbortHandler)
	}
	first, at, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	c := cid.MustParse(first)
	for _, im := range g.images {
		switch format := r.URL.Query().Get("format"); {
		case format == "raw" && im.blocks[string(c.Hash())] != nil:
			w.Header().Set("Content-Type", "application/vnd.ipld.raw")
			w.Write(im.blocks[string(c.Hash())])
			return
		case format == "car" && im.root == c:
			w.Header().Set("Content-Type", "application/vnd.ipld.car; version=1")
			im.car(w, at)
			return
		case format == "" && im.root == c && im.blobs[at] != nil:
			g.asked.Add(1)
			var content io.ReadSeeker = bytes.NewReader(im.blobs[at])
			if g.body != nil {
				content = g.body(content)
			}
			http.ServeContent(counted{w, g}, r, "", time.Time{}, content)
			return
		}
	}
	http.NotFound(w, r)
}

// car writes the blocks on the path to a blob, and the first block of the blob.
func (im *image) car(w io.Writer, at string) {
	car, _ := car.NewWriter(w, im.root)
	get := func(_ context.Context, c cid.Cid) ([]byte, error) { return im.blocks[string(c.Hash())], nil }
	trail, _ := unixfs.Trail(context.Background(), get, im.root, at)
	for _, c := range append([]cid.Cid{im.root}, trail...) {
		if data := im.blocks[string(c.Hash())]; data != nil {
			car.Put(unixfs.Block{CID: c, Data: data})
		}
	}
}

// counted counts the bytes that are sent, and sends them at the rate of the limiter.
type counted struct {
	http.ResponseWriter
	*testGateway
}

func (c counted) Write(b []byte) (int, error) {
	if c.limiter != nil {
		c.limiter.wait(len(b))
	}
	n, err := c.ResponseWriter.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

// A limiter lets a number of bytes pass each second.
type limiter struct {
	rate float64
	next chan time.Time
}

func newLimiter(rate float64) *limiter {
	l := &limiter{rate, make(chan time.Time, 1)}
	l.next <- time.Now()
	return l
}

func (l *limiter) wait(n int) {
	at := <-l.next
	if now := time.Now(); at.Before(now) {
		at = now
	}
	at = at.Add(time.Duration(float64(n) / l.rate * 1e9))
	l.next <- at
	<-time.After(time.Until(at))
}

// A bench is a filler of a store's cache, and gateways.
type bench struct {
	*Filler
	session trustless.Session
	cache   *store.Cache
	dir     string
}

func serve(t testing.TB, dir string, limit int64, gateways ...*testGateway) *bench {
	t.Helper()
	return serveGroups(t, dir, limit, gateway.Config{Groups: []gateway.Group{groupOf(t, gateways...)}})
}

// groupOf serves gateways as one group.
func groupOf(t testing.TB, gateways ...*testGateway) gateway.Group {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	group := gateway.Group{Transport: transport}
	for _, g := range gateways {
		server := httptest.NewServer(g)
		t.Cleanup(server.Close)
		u, err := url.Parse(server.URL)
		check(t, err)
		group.Upstreams = append(group.Upstreams, u)
	}
	return group
}

func serveGroups(t testing.TB, dir string, limit int64, c gateway.Config) *bench {
	t.Helper()
	b := &bench{dir: dir, cache: store.Open(dir).NewCache(store.CacheConfig{MaxSize: limit})}
	client := trustless.NewClient(trustless.Config{Pool: gateway.NewPool(c), Nodes: b.cache})
	b.session = trustless.Session{Client: client}
	b.Filler = New(b.cache, Config{})
	b.SetPrefetch(3)
	t.Cleanup(func() { b.Close() })
	return b
}

// A client is a sink that compares the bytes that it gets with those that it wants.
type client struct {
	want    []byte
	at, n   int64
	to      int64
	size    int64
	started int
	wrong   bool
	slow    func()
}

func (c *client) Start(f trustless.File, from, to int64) {
	c.started++
	c.at, c.to, c.size = from, to, f.Size
}

func (c *client) Write(b []byte) (int, error) {
	if c.slow != nil {
		c.slow()
	}
	if !bytes.Equal(c.want[c.at:][:len(b)], b) {
		c.wrong = true
	}
	c.at += int64(len(b))
	c.n += int64(len(b))
	return len(b), nil
}

// ReadFrom reads a file as sendfile does: to its end, which may move meanwhile.
func (c *client) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// get asks for a blob, or for a part of it. The error says how the answer is wrong.
func (b *bench) get(ctx context.Context, blob Blob, want []byte, part *gateway.Range) error {
	c := &client{want: want}
	err := b.Copy(ctx, b.session, blob, part, c)
	from, to := int64(0), int64(len(want))
	if part != nil {
		from, to = part.Resolve(to)
	}
	switch {
	case c.wrong:
		return fmt.Errorf("wrong bytes before %d", c.at)
	case err != nil:
		return err
	case c.started != 1 || c.n != to-from || c.at != to || c.size != int64(len(want)):
		return fmt.Errorf("%d bytes up to %d of %d, started %d times, for %v", c.n, c.at, c.size, c.started, part)
	}
	return nil
}

// ahead prefetches a blob of n bytes.
func (b *bench) ahead(blob Blob, n int) error {
	return b.Prefetch(context.Background(), b.session, blob, int64(n))
}

func random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
