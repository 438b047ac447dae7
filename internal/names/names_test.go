package names

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// An owner signs records.
type owner struct {
	crypto.PrivKey
	name Name
}

func newOwner(t testing.TB, kind int) owner {
	t.Helper()
	key, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ownerOf(t, key)
}

func ownerOf(t testing.TB, key crypto.PrivKey) owner {
	t.Helper()
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	name, err := Parse(ipns.NameFromPeer(id).String())
	if err != nil {
		t.Fatal(err)
	}
	return owner{key, name}
}

func (o owner) sign(t testing.TB, value string, sequence uint64, end time.Time, ttl time.Duration, options ...ipns.Option) []byte {
	t.Helper()
	p, err := path.NewPath(value)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipns.NewRecord(o.PrivKey, p, sequence, end, ttl, options...)
	if err != nil {
		t.Fatal(err)
	}
	data, err := ipns.MarshalRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// publish signs a record that is valid for a day, with a TTL of a minute.
func (o owner) publish(t testing.TB, value string, sequence uint64) []byte {
	t.Helper()
	return o.sign(t, value, sequence, time.Now().Add(24*time.Hour), time.Minute)
}

// publishValue is publish for a value that need not be a path.
func (o owner) publishValue(t testing.TB, value string, sequence uint64) []byte {
	t.Helper()
	signed, err := ipns.NewRecord(o.PrivKey, anyPath{value: value}, sequence, time.Now().Add(24*time.Hour), time.Minute, ipns.WithV1Compatibility(false))
	if err != nil {
		t.Fatal(err)
	}
	data, err := ipns.MarshalRecord(signed)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// An anyPath is a value that need not be a path.
type anyPath struct {
	path.Path
	value string
}

func (p anyPath) String() string { return p.value }

// content returns the CID of some content, and its path.
func content(s string) (cid.Cid, string) {
	hash, err := mh.Sum([]byte(s), mh.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	c := cid.NewCidV1(cid.DagProtobuf, hash)
	return c, "/ipfs/" + c.String()
}

func pathOf(s string) string {
	_, p := content(s)
	return p
}

// A fake is a gateway.
type fake func(*http.Request) (*http.Response, error)

// gives answers every request with a record.
func gives(record []byte) fake { return says(recordType, bytes.NewReader(record)) }

const recordType = "application/vnd.ipfs.ipns-record"

func says(contentType string, body io.Reader) fake {
	var b []byte
	endless, isEndless := body.(endless)
	if !isEndless {
		b, _ = io.ReadAll(body)
	}
	return func(*http.Request) (*http.Response, error) {
		resp := &http.Response{
			StatusCode: http.StatusOK, Status: "200 OK", ContentLength: -1,
			Header: http.Header{"Content-Type": {contentType}},
			Body:   io.NopCloser(bytes.NewReader(b)),
		}
		if isEndless {
			resp.Body = io.NopCloser(endless)
		}
		return resp, nil
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func status(code int) fake {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Header: http.Header{}, Body: http.NoBody}, nil
	}
}

// silent never answers.
func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A world is a resolver and the gateways that it asks, whose hosts are a, b, c….
type world struct {
	*Resolver
	t testing.TB

	mu       sync.Mutex
	gateways []fake
	asked    []string
	failures []error
	strikes  int
}

func newWorld(t testing.TB, c Config, gateways ...fake) *world {
	t.Helper()
	w := &world{t: t, gateways: gateways}
	group := gateway.Group{Transport: w}
	for i := range gateways {
		group.Upstreams = append(group.Upstreams, &url.URL{Scheme: "http", Host: string(rune('a' + i))})
	}
	c.Pool = gateway.NewPool(gateway.Config{Groups: []gateway.Group{group}})
	c.Failed = func(_ Name, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failures = append(w.failures, err)
		if f, ok := errors.AsType[gateway.Failure](err); ok && f.Strike {
			w.strikes++
		}
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.Resolver = r
	return w
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked = append(w.asked, r.URL.Host)
	gateway := w.gateways[r.URL.Host[0]-'a']
	w.mu.Unlock()
	if want := "ipns-record"; r.URL.Query().Get("format") != want || r.Header.Get("Accept") != recordType {
		w.t.Errorf("a request for %s, %s", r.URL, r.Header)
	}
	return gateway(r)
}

// set replaces the first gateway.
func (w *world) set(gateway fake) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gateways[0] = gateway
}

// forget clears the record of requests and failures.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked, w.failures, w.strikes = nil, nil, 0
}

// must resolves the name and expects the content s.
func (w *world) must(n Name, s string) Resolved {
	w.t.Helper()
	w.forget()
	got, err := w.Resolve(w.t.Context(), n)
	if root, _ := content(s); err != nil || got.Root != root {
		w.t.Fatalf("%s stands for %v, %v; want %s", n, got, err, s)
	}
	return got
}

// mustNot resolves the name and expects an error.
func (w *world) mustNot(n Name) error {
	w.t.Helper()
	w.forget()
	got, err := w.Resolve(context.Background(), n)
	if err == nil {
		w.t.Fatalf("%s stands for %v", n, got)
	}
	return err
}

func (w *world) askedAre(want ...string) {
	w.t.Helper()
	slices.Sort(w.asked)
	if !slices.Equal(w.asked, want) {
		w.t.Errorf("asked %v, want %v", w.asked, want)
	}
}

var errLeft = errors.New("left")

func withCancel(t testing.TB) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(t.Context())
	return ctx, func() { cancel(errLeft) }
}
