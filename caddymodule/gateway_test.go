package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// fault is something that a gateway does instead of its job.
type fault = func(w http.ResponseWriter, r *http.Request, content []byte)

func flip(w http.ResponseWriter, r *http.Request, content []byte) {
	content = bytes.Clone(content)
	if len(content) > 0 {
		content[len(content)/2] ^= 1
	}
	honest(w, r, content)
}

// cut breaks the connection after n bytes of a whole file, and is honest about
// parts of it.
func cut(n int) fault {
	return func(w http.ResponseWriter, r *http.Request, content []byte) {
		if r.Header.Get("Range") != "" || len(content) <= n {
			honest(w, r, content)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:n])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// stall is silent after n bytes until the request is given up.
func stall(n int) fault {
	return func(w http.ResponseWriter, r *http.Request, content []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:min(n, len(content))])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

var faults = map[string]fault{
	"flips a bit": flip,
	"ends early": func(w http.ResponseWriter, _ *http.Request, content []byte) {
		w.Write(content[:len(content)/2])
		http.NewResponseController(w).Flush() // chunked, so the end is a clean one
	},
	"breaks off":     cut(5),
	"stalls at once": stall(0),
	"stalls":         stall(5),
	"has nothing":    func(w http.ResponseWriter, r *http.Request, _ []byte) { http.NotFound(w, r) },
	"fails":          func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(500) },
	"has enough":     func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(429) },
	"sends a page":   func(w http.ResponseWriter, _ *http.Request, _ []byte) { io.WriteString(w, "<html>Welcome</html>") },
	"sends people away": func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	},
	"loops": func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	},
	"another part": func(w http.ResponseWriter, _ *http.Request, content []byte) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 1-2/%d", len(content)))
		w.WriteHeader(206)
		io.WriteString(w, "xx")
	},
	"compresses": func(w http.ResponseWriter, _ *http.Request, content []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(content)
	},
	"hangs up": func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) },
}

// hurry makes a test of what stalls end soon. Patience is for the honest gateway
// too, so there is enough of it for a machine that is busy.
func (s *site) hurry(fault string) {
	if strings.HasPrefix(fault, "stalls") {
		s.handler.pool.Patience = time.Second
	}
}

// A bad gateway costs time, and nobody else notices.
func TestBadGatewayBesideAnHonestOne(t *testing.T) {
	im := newImages(t)
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, test := range []struct {
				path string
				want []byte
			}{
				{im.manifests(t, ours, digest.FromBytes(im.manifest).String()), im.manifest},
				{im.blob(t, im.config), im.config},
			} {
				bad, good := im.gateway(t).breaks(fault), im.gateway(t)
				s := newSite(t, gateways(bad, good))
				s.hurry(name)
				if _, body := s.get(t, 200, test.path); !bytes.Equal(body, test.want) {
					t.Errorf("%s: %q", test.path, body)
				}
				if len(bad.asked()) == 0 || len(good.asked()) == 0 {
					t.Errorf("%s: both must have been asked", test.path)
				}
			}
		})
	}
}

// What has to be a manifest, by tag, is at least one.
func TestPageInsteadOfATag(t *testing.T) {
	im := newImages(t)
	s := newSite(t, gateways(im.gateway(t).breaks(faults["sends a page"]), im.gateway(t)))
	if _, body := s.get(t, 200, im.manifests(t, ours, "v1")); !bytes.Equal(body, im.manifest) {
		t.Errorf("got %q", body)
	}
}

// A bad gateway alone is Caddy's error, not the registry's answer.
func TestBadGatewayAlone(t *testing.T) {
	im := newImages(t)
	for name, want := range map[string]int{
		"flips a bit": 502, "ends early": 502, "breaks off": 502, "stalls at once": 504, "stalls": 504,
		"fails": 502, "has enough": 502, "sends a page": 502, "sends people away": 502, "loops": 502,
		"another part": 502, "compresses": 502, "hangs up": 502,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, gateways(im.gateway(t).breaks(faults[name])))
			s.hurry(name)
			for _, path := range []string{im.manifests(t, ours, digest.FromBytes(im.manifest).String()), im.blob(t, im.config)} {
				s.get(t, want, path)
				if err, ok := errors.AsType[caddyhttp.HandlerError](<-s.errs); !ok || err.StatusCode != want {
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
}

// Two gateways that do not have it, one of them because it is broken: that is
// not known to be nowhere.
func TestNotFoundIsUnanimous(t *testing.T) {
	im := newImages(t)
	has := im.gateway(t).breaks(faults["has nothing"])
	path := im.blob(t, im.config)
	checkError(t, newSite(t, gateways(has, has)), http.MethodGet, path, "BLOB_UNKNOWN", 404)
	newSite(t, gateways(has, im.gateway(t).breaks(faults["fails"]))).get(t, 502, path)
}

// One that does not answer must not hide the layouts that take a second look.
func TestOlderLayoutBesideADeadGateway(t *testing.T) {
	im := newImages(t)
	dead := im.gateway(t)
	dead.Close()
	for _, reference := range []string{"latest", digest.FromBytes(im.manifest).String()} {
		s := newSite(t, gateways(dead, im.gateway(t)))
		if _, body := s.get(t, 200, im.manifests(t, older, reference)); !bytes.Equal(body, im.manifest) {
			t.Errorf("%s: %q", reference, body)
		}
	}
}

// In the middle of a blob, another gateway goes on, and so does the same one.
func TestBlobGoesOn(t *testing.T) {
	im := newImages(t)
	const at = 600_000
	for name, test := range map[string]struct {
		bad   fault
		alone bool
	}{
		"breaks off":        {cut(at), false},
		"stalls":            {stall(at), false},
		"breaks off, alone": {cut(at), true},
		"appends what happened": {func(w http.ResponseWriter, r *http.Request, content []byte) {
			content = bytes.Clone(content)
			copy(content[at-20:], "deadline exceeded: no more")
			cut(at)(w, r, content)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := im.gateway(t).breaks(test.bad), im.gateway(t)
			h := gateways(bad, good)
			if test.alone {
				h = gateways(bad)
			}
			s := newSite(t, h)
			s.hurry(name)
			resp, body := s.get(t, 200, im.blob(t, im.layer))
			if !bytes.Equal(body, im.layer) {
				t.Errorf("%d bytes, not the right %d", len(body), len(im.layer))
			}
			checkHeader(t, resp, blobType, digest.FromBytes(im.layer), len(im.layer), forever)
			if test.alone {
				good = bad
			}
			asked := good.asked()
			if got := asked[len(asked)-1].Header.Get("Range"); !test.alone && name != "appends what happened" && !strings.HasPrefix(got, "bytes=262144-") {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

// A false blob never arrives whole. Who sent it is in the log, and is asked for it
// last from then on.
func TestFalseBlob(t *testing.T) {
	im := newImages(t)
	liar, good := im.gateway(t).breaks(flip), im.gateway(t)
	s := newSite(t, gateways(liar, good))
	path, d := im.blob(t, im.layer), digest.FromBytes(im.layer)
	resp, body, err := s.do(t, http.MethodGet, path)
	if err == nil || resp.StatusCode != 200 || len(body) >= len(im.layer) {
		t.Fatalf("%s, %d bytes, %v", resp.Status, len(body), err)
	}
	entries := s.logged("content does not have its digest")
	if len(entries) != 1 {
		t.Fatalf("logged %v", s.logs.All())
	}
	fields := entries[0].ContextMap()
	for name, want := range map[string]string{
		"cid": im.root.String(), "name": ours, "digest": d.String(), "gateway": liar.URL, "error": "content is not what its hash says",
	} {
		if fields[name] != want {
			t.Errorf("logged %s: %v, want %s", name, fields[name], want)
		}
	}
	if entries[0].Level != zap.ErrorLevel {
		t.Errorf("logged as %s", entries[0].Level)
	}

	liar.asked()
	if _, body := s.get(t, 200, path); !bytes.Equal(body, im.layer) {
		t.Errorf("second try: %d bytes", len(body))
	}
	if n := len(liar.asked()); n != 0 {
		t.Errorf("the liar was asked %d times in the second try", n)
	}

	// Alone it is asked all the same.
	good.breaks(faults["has nothing"])
	liar.breaks(nil)
	s.get(t, 200, path)
}

// chunked does not say how long the content is.
func chunked(w http.ResponseWriter, _ *http.Request, content []byte) {
	w.Write(content[:len(content)/2])
	http.NewResponseController(w).Flush()
	w.Write(content[len(content)/2:])
}

// A client of HTTP/1.0 takes whatever came before the connection was closed for
// the whole, unless it was told the length.
func TestBlobWithoutLength(t *testing.T) {
	im := newImages(t)
	for name, test := range map[string]struct {
		fault  fault
		status int
	}{
		"says it of parts": {func(w http.ResponseWriter, r *http.Request, content []byte) {
			if r.Header.Get("Range") == "" {
				chunked(w, r, content)
				return
			}
			honest(w, r, content)
		}, 200},
		"never says it": {chunked, 502},
		"goes on for ever": {func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			for b := make([]byte, 1<<20); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, 502},
	} {
		s := newSite(t, gateways(im.gateway(t).breaks(test.fault)))
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", im.blob(t, im.layer))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != test.status {
			t.Errorf("%s: %s, %d bytes, %v", name, resp.Status, len(body), err)
		}
		if test.status == 200 && (!bytes.Equal(body, im.layer) || resp.ContentLength != int64(len(im.layer))) {
			t.Errorf("%s: %d bytes, %d were announced", name, len(body), resp.ContentLength)
		}
	}
}

// HTTP allows a gateway to know no ranges, and us to answer one with the whole.
func TestGatewayWithoutRanges(t *testing.T) {
	im := newImages(t)
	g := im.gateway(t).breaks(func(w http.ResponseWriter, _ *http.Request, content []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content)
	})
	s := newSite(t, gateways(g))
	resp, body := s.get(t, 200, im.blob(t, im.layer), "Range", "bytes=5-")
	if !bytes.Equal(body, im.layer) {
		t.Errorf("%d bytes", len(body))
	}
	checkHeader(t, resp, blobType, digest.FromBytes(im.layer), len(im.layer), forever)
	// Another gateway that does is better.
	resp, body = newSite(t, gateways(g, im.gateway(t))).get(t, 206, im.blob(t, im.layer), "Range", "bytes=5-")
	if !bytes.Equal(body, im.layer[5:]) {
		t.Errorf("%s, %d bytes", resp.Status, len(body))
	}
}

// Whoever publishes something false must not be able to send everybody's requests
// past the gateway that was preferred.
func TestFalseBlobKeepsTheOrderOfGroups(t *testing.T) {
	im := newImages(t)
	im.files[layout.BlobPath(ours, digest.FromString("false and long"))] = random(400_000)
	im.build(t, func(unixfs.Block) error { return nil })
	own, public := im.gateway(t), im.gateway(t)
	s := newSite(t, gateways(own, public))
	_, _, err := s.do(t, http.MethodGet, "/v2/"+im.repository(t, ours)+"/blobs/"+digest.FromString("false and long").String())
	if err == nil {
		t.Error("a false blob arrived whole")
	}
	public.asked()
	s.get(t, 200, im.blob(t, im.config))
	s.get(t, 200, im.manifests(t, ours, "v1"))
	if n := len(public.asked()); n != 0 {
		t.Errorf("the second group was asked %d times", n)
	}
}

// That the older name cannot be looked up is not known to be a 404.
func TestOlderLayoutAtABrokenGateway(t *testing.T) {
	im := newImages(t)
	g := im.gateway(t).breaks(func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(500) })
	for _, reference := range []string{"latest", digest.FromBytes(im.manifest).String()} {
		newSite(t, gateways(g)).get(t, 502, im.manifests(t, older, reference))
		newSite(t, gateways(im.gateway(t).breaks(faults["has nothing"]), g)).get(t, 502, im.manifests(t, older, reference))
	}
}

// Connections to gateways are used again, whatever the answers were.
func TestConnectionsAreKept(t *testing.T) {
	im := newImages(t)
	g := im.gateway(t)
	page := strings.Repeat("not here\n", 50)
	for name, test := range map[string]struct {
		fault        fault
		method, path string
		want         int
	}{
		"manifest": {nil, http.MethodGet, im.manifests(t, ours, "v1"), 200},
		"blob":     {nil, http.MethodGet, im.blob(t, im.layer), 200},
		"HEAD":     {nil, http.MethodHead, im.blob(t, im.layer), 200},
		"404":      {func(w http.ResponseWriter, _ *http.Request, _ []byte) { http.Error(w, page, 404) }, http.MethodGet, im.blob(t, im.config), 404},
		"redirect": {func(w http.ResponseWriter, r *http.Request, content []byte) {
			if r.URL.RawQuery == "" {
				http.Redirect(w, r, r.URL.Path+"?again", http.StatusMovedPermanently)
				return
			}
			honest(w, r, content)
		}, http.MethodGet, im.blob(t, im.layer), 200},
	} {
		var connections atomic.Int64
		server := httptest.NewUnstartedServer(g.breaks(test.fault))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		s := newSite(t, Handler{Gateways: []*Gateway{{Upstreams: []string{server.URL}}}})
		for range 5 {
			if resp, _, err := s.do(t, test.method, test.path); err != nil || resp.StatusCode != test.want {
				t.Errorf("%s: %s, %v", name, resp.Status, err)
			}
		}
		if n := connections.Load(); n != 1 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}

// HTTP/2 takes megabytes for every client that is slow, so it is for who asks
// for it.
func TestHTTPVersion(t *testing.T) {
	im := newImages(t)
	var proto atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		im.gateway(t).ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for versions, want := range map[string]string{"": "HTTP/1.1", `,"versions":["1.1","2"]`: "HTTP/2.0"} {
		h := Handler{Gateways: []*Gateway{{Upstreams: []string{server.URL}}}}
		h.Gateways[0].TransportRaw = []byte(`{"protocol":"http","tls":{"insecure_skip_verify":true}` + versions + `}`)
		newSite(t, h).get(t, 200, im.blob(t, im.config))
		if got := proto.Load(); got != want {
			t.Errorf("versions %q: %s, want %s", versions, got, want)
		}
	}
}

// What a transport can learn is the gateway's, and nothing of the client's.
func TestTransportContext(t *testing.T) {
	im := newImages(t)
	server := httptest.NewTLSServer(im.gateway(t))
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
	newSite(t, h).get(t, 200, im.blob(t, im.config))
	if got := sni.Load(); got != "x127.0.0.1" {
		t.Errorf("the gateway was told %q", got)
	}

	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "secret"))
	b := &bare{ctx, caddy.NewReplacer(), map[string]any{}}
	if got := b.Value(key{}); got != nil {
		t.Errorf("the transport is told %v", got)
	}
	derived, end := context.WithCancel(b)
	defer end()
	cancel()
	<-derived.Done()
}

// Gateways learn nothing of the client.
func TestGatewayRequests(t *testing.T) {
	im := newImages(t)
	g := im.gateway(t)
	s := newSite(t, gateways(g))
	secrets := []string{
		"Authorization", "Basic secret", "Cookie", "secret", "Accept", "application/vnd.ipld.car", "Accept-Encoding", "zstd, gzip",
		"X-Forwarded-For", "203.0.113.9", "User-Agent", "secret/1", "Traceparent", "secret", "Referer", "http://secret/",
	}
	for _, path := range []string{im.blob(t, im.layer), im.manifests(t, ours, "v1")} {
		s.get(t, 200, path+"?format=car&secret", secrets...)
		s.do(t, http.MethodHead, path+"?ns=secret", secrets...)
	}
	asked := g.asked()
	if len(asked) != 4 {
		t.Fatalf("%d requests", len(asked))
	}
	for _, r := range asked {
		if r.Method != http.MethodGet || r.URL.RawQuery != "" || r.Host != strings.TrimPrefix(g.URL, "http://") {
			t.Errorf("%s %s for %s", r.Method, r.URL, r.Host)
		}
		want := http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"ipfs-registry"}}
		if part := r.Header["Range"]; part != nil {
			want["Range"] = []string{"bytes=0-0"}
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("header %v", r.Header)
		}
	}
}

func TestRedirect(t *testing.T) {
	im := newImages(t)
	g := im.gateway(t)
	h := gateways(g)
	h.Blobs = &Blobs{Mode: "redirect"}
	elsewhere := h
	elsewhere.Blobs = &Blobs{Mode: "redirect", Gateway: "https://gw.example/below"}
	path := layoutBlob(im)
	for _, test := range []struct {
		handler  Handler
		location string
	}{
		{h, g.URL + path},
		{elsewhere, "https://gw.example/below" + path},
	} {
		s := newSite(t, test.handler)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, _, err := s.do(t, method, im.blob(t, im.layer))
			if err != nil || resp.StatusCode != 307 || resp.Header.Get("Location") != test.location || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s, %v, %v", method, resp.Status, resp.Header, err)
			}
		}
		// A gateway would get a manifest's type wrong.
		s.get(t, 200, im.manifests(t, ours, "v1"))
	}

	// What is on disk is served from there.
	h.Store = &Store{Directory: im.store(t)}
	newSite(t, h).get(t, 200, im.blob(t, im.layer))
}

func layoutBlob(im *images) string {
	return "/ipfs/" + im.root.String() + "/" + ours + "/blobs/" + digest.FromBytes(im.layer).String()
}

// The store comes first, and gateways are asked for what it does not have.
func TestStoreFirst(t *testing.T) {
	im := newImages(t)
	g := im.gateway(t)
	h := gateways(g)
	h.Store = &Store{Directory: im.store(t)}
	s := newSite(t, h)
	s.get(t, 200, im.blob(t, im.layer))
	s.get(t, 200, im.manifests(t, ours, "v1"))
	if n := len(g.asked()); n != 0 {
		t.Errorf("a gateway was asked %d times for what is on disk", n)
	}
}

// A client that leaves makes no gateway look bad, and no noise.
func TestClientLeaves(t *testing.T) {
	im := newImages(t)
	for _, n := range []int{0, 600_000} { // before anything was sent, and afterwards
		first, second := im.gateway(t), im.gateway(t)
		s := newSite(t, gateways(first, second))
		reached := make(chan struct{})
		gone := make(chan struct{})
		first.breaks(func(w http.ResponseWriter, r *http.Request, content []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:n])
			http.NewResponseController(w).Flush()
			close(reached)
			<-r.Context().Done()
			close(gone)
		})
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+im.blob(t, im.layer), nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
		<-reached
		cancel()
		<-gone
		<-done
		if n == 0 {
			if err, ok := errors.AsType[caddyhttp.HandlerError](<-s.errs); !ok || err.StatusCode != 499 {
				t.Errorf("Caddy is told of %v", err)
			}
		}
		if all := s.logs.All(); len(all) != 0 {
			t.Errorf("logged %v", all)
		}
		first.breaks(nil)
		first.asked()
		s.get(t, 200, im.blob(t, im.config))
		if len(first.asked()) != 1 || len(second.asked()) != 0 {
			t.Error("the gateway is asked last now")
		}
	}
}

// Gateways of one group take turns.
func TestTurns(t *testing.T) {
	im := newImages(t)
	a, b := im.gateway(t), im.gateway(t)
	s := newSite(t, Handler{Gateways: []*Gateway{{Upstreams: []string{a.URL, b.URL}}}})
	for range 4 {
		s.get(t, 200, im.blob(t, im.config))
	}
	if na, nb := len(a.asked()), len(b.asked()); na != 2 || nb != 2 {
		t.Errorf("asked %d and %d times", na, nb)
	}
}

// TLS needs no configuration but its trust.
func TestHTTPS(t *testing.T) {
	im := newImages(t)
	plain := im.gateway(t)
	secure := httptest.NewTLSServer(plain)
	defer secure.Close()
	h := Handler{Gateways: []*Gateway{{Upstreams: []string{secure.URL}}}}
	newSite(t, h).get(t, 502, im.blob(t, im.config)) // by an unknown authority

	h.Gateways[0].TransportRaw = []byte(`{"protocol":"http","tls":{"insecure_skip_verify":true}}`)
	newSite(t, h).get(t, 200, im.blob(t, im.config))

	h.Gateways[0].Upstreams = []string{strings.TrimPrefix(secure.URL, "https://")}
	newSite(t, h).get(t, 200, im.blob(t, im.config))
}

// Many at once, through gateways that fail: for the race detector, and for
// buffers that are used twice.
func TestConcurrent(t *testing.T) {
	im := newImages(t)
	s := newSite(t, Handler{Gateways: []*Gateway{{Upstreams: []string{im.gateway(t).breaks(cut(300_000)).URL, im.gateway(t).URL}}}})
	results := make(chan error)
	for range 16 {
		go func() {
			resp, err := http.Get(s.URL + im.blob(t, im.layer))
			if err != nil {
				results <- err
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil && !slices.Equal(body, im.layer) {
				err = fmt.Errorf("%d wrong bytes", len(body))
			}
			results <- err
		}()
	}
	for range 16 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
