package registry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

const (
	ours  = imagestest.Ours
	older = imagestest.Older
)

// A setup says what a site consists of.
type setup struct {
	stores      []string // directories
	gateways    []*imagestest.Gateway
	oneGroup    bool // whether the gateways take turns
	deny, allow string
	root        string
	ownRoot     bool // whether the root is that of the first store
	hosts       []string
	catalog     bool
	redirect    string
	names       *names.Config
	patience    time.Duration // for gateways
	push        *Push         // to the own root of the first store
	maxBlob     int64
}

// A site is a server with a registry and nothing around it.
type site struct {
	*httptest.Server
	registry *Registry
	library  *images.Library
	pool     *gateway.Pool
	logs     *observer.ObservedLogs
	errs     chan error // what Serve returned
	rewrite  func(r *http.Request)
	alone    bool // whether failures are answered in the protocol's form

	gatewayIsAsked bool // whether the store has nothing
}

func newSite(t testing.TB, c setup) *site {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	logger := zap.New(core)
	s := &site{logs: logs, errs: make(chan error, 10_000)}
	config := images.Config{Logger: logger}
	for _, dir := range c.stores {
		config.Stores = append(config.Stores, store.Open(dir))
	}
	var groups []gateway.Group
	for i, g := range c.gateways {
		u, err := gateway.ParseUpstream(g.URL, "http")
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && c.oneGroup {
			groups[0].Upstreams = append(groups[0].Upstreams, u)
			continue
		}
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		groups = append(groups, gateway.Group{Upstreams: []*url.URL{u}, Transport: transport})
	}
	if len(groups) > 0 {
		s.pool = gateway.NewPool(gateway.Config{Groups: groups, Patience: c.patience})
		config.Gateways = trustless.NewClient(trustless.Config{Pool: s.pool, Budget: budget.Process(), Tables: budget.Tables()})
	}
	config.Lists = openLists(t, c.deny, c.allow)
	s.library = images.New(t.Context(), config)
	rc := Config{Library: s.library, Catalog: c.catalog, Logger: logger}
	if c.root != "" {
		var err error
		if rc.Root, err = ParseRoot(c.root); err != nil {
			t.Fatal(err)
		}
		rc.Root.Hosts = c.hosts
	}
	if c.push != nil {
		c.ownRoot, rc.Push = true, c.push
		rc.Push.To = repository.New(config.Stores[0], repository.Config{MaxBlob: c.maxBlob})
		rc.Push.Turns, rc.Push.MaxBlob = make(chan struct{}, 10), c.maxBlob
	}
	if c.ownRoot {
		rc.Root = &Root{Own: store.Open(c.stores[0]).Root()}
	}
	if c.redirect != "" {
		rc.Redirect, _ = url.Parse(c.redirect)
	}
	rc.Resolver = newResolver(t, c, rc.Root, s)
	s.registry = New(rc)
	s.gatewayIsAsked = s.pool != nil && (len(c.stores) == 0 || isEmpty(c.stores[0]))
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func newResolver(t testing.TB, c setup, root *Root, s *site) *names.Resolver {
	t.Helper()
	if c.names == nil {
		return nil
	}
	config := *c.names
	config.Pool = s.pool
	if root.IsName() {
		config.Others = []names.Name{root.Name}
	}
	resolver, err := names.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return resolver
}

func openLists(t testing.TB, deny, allow string) *denylist.Lists {
	t.Helper()
	var files [2][]string
	for i, text := range []string{deny, allow} {
		if text != "" {
			files[i] = []string{writeList(t, text)}
		}
	}
	if files[0] == nil && files[1] == nil {
		return nil
	}
	lists, err := denylist.Open(files[0], files[1])
	if err != nil {
		t.Fatal(err)
	}
	return lists
}

func writeList(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// gateways returns a setup with a group for each gateway, the preferred one first.
func gateways(gs ...*imagestest.Gateway) setup { return setup{gateways: gs} }

// stored returns a setup with a store that has the images.
func stored(t testing.TB, im *imagestest.Images) setup {
	return setup{stores: []string{im.Store(t)}}
}

var errNext = errors.New("not the registry's")

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	original := *r.URL
	if s.rewrite != nil {
		s.rewrite(r)
	}
	err := errNext
	if Serves(r.URL.Path) {
		err = s.registry.Serve(w, Request{Request: r, Original: &original, User: r.Header.Get("X-Test-User")})
	}
	if err == nil {
		return
	}
	s.errs <- err
	failure, ok := errors.AsType[*Failure](err)
	switch {
	case ok && s.alone:
		failure.Answer(w, r, "an-id")
	case ok:
		w.WriteHeader(failure.Status)
	}
}

// do sends a request, header fields as alternating names and values, and reads the
// answer, whose body may break off.
func (s *site) do(t testing.TB, method, path string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	return s.send(t, method, path, nil, header...)
}

// send is do with a body.
func (s *site) send(t testing.TB, method, path string, content io.Reader, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, content)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // which follows no redirects
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// get is do for an answer that must arrive whole, with the status.
func (s *site) get(t testing.TB, status int, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	resp, body, err := s.do(t, http.MethodGet, path, header...)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("GET %s: %s, %d bytes, %v; want %d\n%s", path, resp.Status, len(body), err, status, body[:min(300, len(body))])
	}
	return resp, body
}

func (s *site) logged(message string) []observer.LoggedEntry {
	return s.logs.FilterMessage(message).All()
}
