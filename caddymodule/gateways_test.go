package caddymodule

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// A blob takes two connections, since it is verified without another round trip: the file
// and the nodes above its leaves are requested at the same time. Everything else takes one.
// A few more may be made: by a request that comes before the transport has taken back the
// connection of the last one, and by one that is sent again since the gateway seemed slow.
func TestConnectionsAreKept(t *testing.T) {
	const requests, spare = 20, 4
	im := imagestest.New(t)
	g := im.Gateway(t)
	page := strings.Repeat("not here\n", 50)
	for name, test := range map[string]struct {
		fault        imagestest.Fault
		method, path string
		want         int
		connections  int64
	}{
		"manifest": {nil, http.MethodGet, im.ManifestURL(t, imagestest.Ours, "v1"), 200, 1},
		"blob":     {nil, http.MethodGet, im.BlobURL(t, im.Layer), 200, 2},
		"HEAD":     {nil, http.MethodHead, im.BlobURL(t, im.Layer), 200, 1},
		"404":      {func(w http.ResponseWriter, _ *http.Request, _ []byte) { http.Error(w, page, 404) }, http.MethodGet, im.BlobURL(t, im.Config), 502, 2},
		"redirect": {func(w http.ResponseWriter, r *http.Request, content []byte) {
			if !r.URL.Query().Has("again") {
				http.Redirect(w, r, r.URL.Path+"?again=1&"+r.URL.RawQuery, http.StatusMovedPermanently)
				return
			}
			imagestest.Honest(w, r, content)
		}, http.MethodGet, im.BlobURL(t, im.Layer), 200, 2},
	} {
		var connections atomic.Int64
		server := httptest.NewUnstartedServer(g.Breaks(test.fault))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		s := newSite(t, Handler{Gateways: []*Gateway{{Upstreams: []string{server.URL}}}})
		for range requests {
			if resp, _, err := s.do(t, test.method, test.path); err != nil || resp.StatusCode != test.want {
				t.Errorf("%s: %s, %v", name, resp.Status, err)
			}
		}
		if n := connections.Load(); n > test.connections+spare {
			t.Errorf("%s: %d connections for %d requests, want %d", name, n, requests, test.connections)
		}
	}
}

// HTTP/2 takes megabytes for every slow client, so it is used only if the configuration
// asks for it.
func TestHTTPVersion(t *testing.T) {
	im := imagestest.New(t)
	var proto atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		im.Gateway(t).ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for versions, want := range map[string]string{"": "HTTP/1.1", `,"versions":["1.1","2"]`: "HTTP/2.0"} {
		h := Handler{Gateways: []*Gateway{{Upstreams: []string{server.URL}}}}
		h.Gateways[0].TransportRaw = []byte(`{"protocol":"http","tls":{"insecure_skip_verify":true}` + versions + `}`)
		newSite(t, h).get(t, 200, im.BlobURL(t, im.Config))
		if got := proto.Load(); got != want {
			t.Errorf("versions %q: %s, want %s", versions, got, want)
		}
	}
}

// The context of a transport describes the request to the gateway, and not the client's.
func TestTransportContext(t *testing.T) {
	im := imagestest.New(t)
	server := httptest.NewTLSServer(im.Gateway(t))
	defer server.Close()
	h := Handler{Gateways: []*Gateway{{
		Upstreams:    []string{server.URL},
		TransportRaw: []byte(`{"protocol":"http","tls":{"insecure_skip_verify":true,"server_name":"{http.request.host}x{http.reverse_proxy.upstream.host}"}}`),
	}}}
	var sni atomic.Value
	server.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		sni.Store(hello.ServerName)
		return nil, nil
	}
	newSite(t, h).get(t, 200, im.BlobURL(t, im.Config))
	if got := sni.Load(); got != "x127.0.0.1" {
		t.Errorf("the gateway was told %q", got)
	}

	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "secret"))
	b := &bare{ctx, caddy.NewReplacer(), map[string]any{}, ""}
	if got := b.Value(key{}); got != nil {
		t.Errorf("the transport is told %v", got)
	}
	derived, end := context.WithCancel(b)
	defer end()
	cancel()
	<-derived.Done()
}

// Gateways learn nothing about the client.
func TestGatewayRequests(t *testing.T) {
	im := imagestest.New(t)
	g := im.Gateway(t)
	s := newSite(t, gateways(g))
	secrets := []string{
		"Authorization", "Basic secret", "Cookie", "secret", "Accept", "application/vnd.ipld.car", "Accept-Encoding", "zstd, gzip",
		"X-Forwarded-For", "203.0.113.9", "User-Agent", "secret/1", "Traceparent", "secret", "Referer", "http://secret/",
	}
	for _, path := range []string{im.BlobURL(t, im.Layer), im.ManifestURL(t, imagestest.Ours, "v1")} {
		s.get(t, 200, path+"?format=car&secret", secrets...)
		s.do(t, http.MethodHead, path+"?ns=secret", secrets...)
	}
	asked := g.Asked()
	if len(asked) == 0 {
		t.Fatal("the gateway was not asked")
	}
	for _, r := range asked {
		if r.Method != http.MethodGet || r.Host != strings.TrimPrefix(g.URL, "http://") || strings.Contains(r.URL.String(), "secret") {
			t.Errorf("%s %s for %s", r.Method, r.URL, r.Host)
		}
		for name, values := range r.Header {
			switch name {
			case "Accept", "Accept-Encoding", "Range", "User-Agent":
			default:
				t.Errorf("the gateway is told %s: %s", name, values)
			}
			if strings.Contains(strings.Join(values, " "), "secret") || r.Header.Get("Accept-Encoding") != "identity" || r.UserAgent() != "ipfs-registry" {
				t.Errorf("header %v", r.Header)
			}
		}
	}
}

// TLS needs no configuration if the gateway's certificate is trusted.
func TestHTTPS(t *testing.T) {
	im := imagestest.New(t)
	plain := im.Gateway(t)
	secure := httptest.NewTLSServer(plain)
	defer secure.Close()
	h := Handler{Gateways: []*Gateway{{Upstreams: []string{secure.URL}}}}
	newSite(t, h).get(t, 502, im.BlobURL(t, im.Config)) // the authority is unknown

	h.Gateways[0].TransportRaw = []byte(`{"protocol":"http","tls":{"insecure_skip_verify":true}}`)
	newSite(t, h).get(t, 200, im.BlobURL(t, im.Config))

	h.Gateways[0].Upstreams = []string{strings.TrimPrefix(secure.URL, "https://")}
	newSite(t, h).get(t, 200, im.BlobURL(t, im.Config))
}

// A header is sent to its own gateways only, and its value appears in no configuration,
// state, log or error.
func TestGatewayHeaders(t *testing.T) {
	im := imagestest.New(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	guarded, other := im.Gateway(t), im.Gateway(t)
	guarded.Breaks(func(w http.ResponseWriter, r *http.Request, body []byte) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
		imagestest.Honest(w, r, body)
	})
	s := newSite(t, Handler{Gateways: []*Gateway{
		{Upstreams: []string{guarded.URL}, Headers: map[string]string{"Authorization": "Bearer {file." + token + "}"}},
		{Upstreams: []string{other.URL}},
	}})
	s.get(t, 200, im.ManifestURL(t, imagestest.Ours, "v1"))
	s.get(t, 200, im.BlobURL(t, im.Layer))
	for _, r := range other.Asked() {
		if r.Header.Get("Authorization") != "" {
			t.Error("another gateway is told the secret")
		}
	}
	if config := string(caddyconfig.JSON(s.handler, nil)); strings.Contains(config, "sesame") {
		t.Errorf("the configuration shows the secret: %s", config)
	}
	if states := fmt.Sprint(s.handler.pool.States()); strings.Contains(states, "sesame") {
		t.Errorf("the states of gateways show the secret: %s", states)
	}
	for config, want := range map[string]string{
		`{"X-Key":"{env.NOT_SET_ANYWHERE}"}`: "header X-Key: a placeholder in its value is unknown or empty",
		`{"X Key":"x"}`:                      "is not the name of a header field",
		`{"Host":"x"}`:                       "header Host: the registry sets it itself",
	} {
		_, err := provision(t, `{"gateways":[{"upstreams":["http://gw"],"headers":`+config+`}]}`)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
	t.Setenv("SECRET_KEY", "two\nlines")
	_, err := provision(t, `{"gateways":[{"upstreams":["http://gw"],"headers":{"X-Key":"{env.SECRET_KEY}"}}]}`)
	if err == nil || strings.Contains(err.Error(), "lines") {
		t.Errorf("the error is %v", err)
	}
}

// A gateway on a Unix socket is spelled as Caddy spells it, and addresses may come from
// the environment.
func TestGatewayOnUnixSocket(t *testing.T) {
	im := imagestest.New(t)
	dir, err := os.MkdirTemp("", "s") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "kubo.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: im.Gateway(t)}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	t.Setenv("KUBO_GATEWAY", "unix/"+filepath.Join(dir, "kubo.sock"))
	s := newSite(t, Handler{Gateways: []*Gateway{{Upstreams: []string{"{env.KUBO_GATEWAY}"}}}})
	s.get(t, 200, im.BlobURL(t, im.Layer))
	want := "http://" + strings.Trim(notInHost.ReplaceAllString(strings.ToLower(dir), "-"), "-") + "-kubo.sock"
	if got := s.handler.pool.States()[0].Gateway; got != want {
		t.Errorf("the gateway is known as %s, want %s", got, want)
	}
}
