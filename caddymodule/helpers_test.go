package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// images is a directory on IPFS with an image as the converter lays it out, one
// as image2ipfs did, and one as ipdr does, which has no name.
type images struct {
	files map[string][]byte // by path
	root  cid.Cid
	built map[string]*unixfs.File

	manifest, artifact []byte
	config, layer      []byte
}

const (
	ours  = "team/app" // the names of the first two
	older = "old"
)

func newImages(t testing.TB) *images {
	t.Helper()
	im := &images{
		files:  map[string][]byte{},
		config: []byte(`{"architecture":"amd64"}`),
		layer:  random(700_001),
	}
	im.manifest = []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"digest":%q},"layers":[{"digest":%q}]}`,
		layout.DockerManifest, digest.FromBytes(im.config), digest.FromBytes(im.layer)))
	im.artifact = []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	for _, m := range []struct {
		name, reference string
		data            []byte
	}{
		{ours, "v1", im.manifest},
		{ours, "latest", im.manifest},
		{ours, digest.FromBytes(im.manifest).String(), im.manifest},
		{ours, "index", im.artifact},
		{ours, digest.FromBytes(im.artifact).String(), im.artifact},
		{ours, digest.FromString("false").String(), im.manifest},
		{ours, "page", []byte("<html>")},
		{older, "latest-v2", im.manifest},
		{"", "latest", im.manifest},
		{"", digest.FromBytes(im.manifest).String(), im.manifest},
	} {
		im.files[layout.ManifestPath(m.name, m.reference)] = m.data
	}
	for _, name := range []string{ours, older, ""} {
		for _, b := range [][]byte{im.config, im.layer} {
			im.files[layout.BlobPath(name, digest.FromBytes(b))] = b
		}
	}
	im.files[layout.BlobPath(ours, digest.FromString("false"))] = im.config
	im.files[layout.BlobPath(ours, digest.FromString(""))] = []byte{}
	im.build(t, func(unixfs.Block) error { return nil })
	return im
}

// build computes the directory's CID and hands its blocks to emit.
func (im *images) build(t testing.TB, emit func(unixfs.Block) error) {
	t.Helper()
	im.built = map[string]*unixfs.File{}
	nodes := map[string]unixfs.Node{}
	for path, content := range im.files {
		c := unixfs.V1.NewCutter()
		c.Write(content)
		f, err := unixfs.V1.Layout(c.Table())
		if err != nil {
			t.Fatal(err)
		}
		im.built[path], nodes[path] = f, f.Node
	}
	root, err := unixfs.V1.Tree(t.Context(), nodes, emit)
	if err != nil {
		t.Fatal(err)
	}
	im.root = root.CID
}

// store returns the directory of a store that has the images.
func (im *images) store(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	imp, err := store.Open(dir).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer imp.Close()
	if err := imp.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, content := range im.files {
		if strings.Contains(path, "manifests/") {
			err = imp.Node(im.built[path].Table.Block(0, content))
		} else {
			tmp := filepath.Join(imp.TempDir(), "blob")
			err = errors.Join(os.WriteFile(tmp, content, 0o600), imp.Blob(tmp, digest.FromBytes(content), im.built[path]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	im.build(t, imp.Node)
	if err := imp.Commit(im.root, store.Record{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// repository spells the image of that name for a client.
func (im *images) repository(t testing.TB, name string) string {
	t.Helper()
	s, err := cidname.Format(im.root)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(s+"/"+name, "/")
}

func (im *images) blob(t testing.TB, content []byte) string {
	return "/v2/" + im.repository(t, ours) + "/blobs/" + digest.FromBytes(content).String()
}

func (im *images) manifests(t testing.TB, name, reference string) string {
	return "/v2/" + im.repository(t, name) + "/manifests/" + reference
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// A testGateway is an IPFS gateway that serves images, until a fault is set.
type testGateway struct {
	*httptest.Server
	images *images

	mu       sync.Mutex
	requests []*http.Request
	fault    func(w http.ResponseWriter, r *http.Request, content []byte)
}

func (im *images) gateway(t testing.TB) *testGateway {
	t.Helper()
	g := &testGateway{images: im}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *testGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.requests = append(g.requests, r)
	fault := g.fault
	g.mu.Unlock()
	content, ok := g.images.files[strings.TrimPrefix(r.URL.Path, "/ipfs/"+g.images.root.String()+"/")]
	if !ok {
		http.Error(w, "no link named", http.StatusNotFound)
		return
	}
	if fault != nil {
		fault(w, r, content)
		return
	}
	honest(w, r, content)
}

// honest answers as Kubo does: with a guess at the type.
func honest(w http.ResponseWriter, r *http.Request, content []byte) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// breaks sets what the gateway does wrong, nil for nothing.
func (g *testGateway) breaks(fault func(w http.ResponseWriter, r *http.Request, content []byte)) *testGateway {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = fault
	return g
}

// asked returns the requests since it was last called.
func (g *testGateway) asked() []*http.Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests := g.requests
	g.requests = nil
	return requests
}

// Caddy provisions one configuration at a time.
var provisioning sync.Mutex

// provision loads a handler from its JSON, as Caddy does.
func provision(t testing.TB, config string) (*Handler, error) {
	t.Helper()
	provisioning.Lock()
	defer provisioning.Unlock()
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	module, err := ctx.LoadModuleByID("http.handlers.ipfs_registry", json.RawMessage(config))
	if err != nil {
		return nil, err
	}
	return module.(*Handler), nil
}

// A site is a server with the handler and nothing after it.
type site struct {
	*httptest.Server
	handler *Handler
	logs    *observer.ObservedLogs
	errs    chan error        // what Caddy would be told
	server  *caddyhttp.Server // that has a route for errors, so Caddy is told
	rewrite func(r *http.Request)
}

// newSite trusts its gateways unless told otherwise. That nobody has to be trusted
// is shown with a real node, in the end-to-end tests.
func newSite(t testing.TB, h Handler) *site {
	t.Helper()
	if h.Trust == "" && len(h.Gateways) > 0 {
		h.Trust = trustGateway
	}
	handler, err := provision(t, string(caddyconfig.JSON(h, nil)))
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	handler.logger = zap.New(core)
	s := &site{handler: handler, logs: logs, errs: make(chan error, 10_000), server: &caddyhttp.Server{
		Errors: &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{Handlers: []caddyhttp.MiddlewareHandler{caddyhttp.StaticResponse{}}}}},
	}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// gateways configures groups of one gateway each, the first preferred.
func gateways(gs ...*testGateway) Handler {
	var h Handler
	for _, g := range gs {
		h.Gateways = append(h.Gateways, &Gateway{Upstreams: []string{g.URL}})
	}
	return h
}

var errNext = errors.New("passed on to the next handler")

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, s.server)
	if s.rewrite != nil {
		s.rewrite(r)
	}
	err := s.handler.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return errNext }))
	if err == nil {
		return
	}
	s.errs <- err
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		w.WriteHeader(failed.StatusCode)
	}
}

// do sends a request, header fields as alternating names and values, and reads
// the answer, whose body may break off.
func (s *site) do(t testing.TB, method, path string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects
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
		t.Fatalf("GET %s: %s, %d bytes, %v; want %d", path, resp.Status, len(body), err, status)
	}
	return resp, body
}

func (s *site) logged(message string) []observer.LoggedEntry {
	return s.logs.FilterMessage(message).All()
}
