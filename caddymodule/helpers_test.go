package caddymodule

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

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
	user    string // that Caddy has authenticated
}

func newSite(t testing.TB, h Handler) *site {
	t.Helper()
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
func gateways(gs ...*imagestest.Gateway) Handler {
	var h Handler
	for _, g := range gs {
		h.Gateways = append(h.Gateways, &Gateway{Upstreams: []string{g.URL}})
	}
	return h
}

var errNext = errors.New("passed on to the next handler")

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	replacer := caddy.NewReplacer()
	if s.user != "" {
		replacer.Set("http.auth.user.id", s.user)
	}
	r = caddyhttp.PrepareRequest(r, replacer, w, s.server)
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
