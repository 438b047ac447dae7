package caddymodule

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

const (
	forever = "public, max-age=31536000, immutable, no-transform"
	again   = "public, no-cache, no-transform"
	never   = "no-store, no-transform"
)

func TestBase(t *testing.T) {
	s := newSite(t, Handler{Store: &Store{Directory: t.TempDir()}})
	for _, path := range []string{"/v2", "/v2/"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, body, err := s.do(t, method, path)
			if err != nil || resp.StatusCode != 200 || resp.ContentLength != 2 || method == http.MethodGet && string(body) != "{}" {
				t.Errorf("%s %s: %s, %q, %v", method, path, resp.Status, body, err)
			}
			for name, want := range map[string]string{"Docker-Distribution-Api-Version": "registry/2.0", "Content-Type": "application/json"} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s %s: %s: %q", method, path, name, got)
				}
			}
		}
	}
}

func TestWhatIsNotOursIsPassedOn(t *testing.T) {
	s := newSite(t, Handler{Store: &Store{Directory: t.TempDir()}})
	for _, path := range []string{"/", "/v1/", "/v2x", "/V2/", "/x/v2/", "/v20/", "//v2/", "/x/../v2/"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			resp, _, err := s.do(t, method, path)
			if err != nil || len(s.errs) != 1 {
				t.Fatalf("%s %s: %d errors, %v", method, path, len(s.errs), err)
			}
			if got := <-s.errs; got != errNext {
				t.Errorf("%s %s: %v", method, path, got)
			}
			if got := resp.Header.Get("Docker-Distribution-Api-Version"); got != "" {
				t.Errorf("%s %s: our header is on another's answer", method, path)
			}
		}
	}
}

// A source is where images come from. What clients see must not depend on it.
var sources = map[string]func(*testing.T, *images) Handler{
	"store":   func(t *testing.T, im *images) Handler { return Handler{Store: &Store{Directory: im.store(t)}} },
	"gateway": func(t *testing.T, im *images) Handler { return gateways(im.gateway(t)) },
	"store without them, and gateway": func(t *testing.T, im *images) Handler {
		h := gateways(im.gateway(t))
		h.Store = &Store{Directory: t.TempDir()}
		return h
	},
	"store, and gateway that breaks": func(t *testing.T, im *images) Handler {
		h := gateways(im.gateway(t).breaks(func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(500) }))
		h.Store = &Store{Directory: im.store(t)}
		return h
	},
}

// fromGateways reports whether it is gateways that answer.
func fromGateways(s *site) bool {
	return s.handler.pool != nil && (len(s.handler.stores) == 0 || isEmpty(s.handler.stores[0].Dir()))
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

func TestManifests(t *testing.T) {
	im := newImages(t)
	byDigest := digest.FromBytes(im.manifest).String()
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		for _, test := range []struct {
			name, reference string
			data            []byte
			mediaType       string
		}{
			{ours, "v1", im.manifest, layout.DockerManifest},
			{ours, "latest", im.manifest, layout.DockerManifest},
			{ours, byDigest, im.manifest, layout.DockerManifest},
			{ours, digest.SHA512.FromBytes(im.manifest).String(), nil, ""}, // there is no such name
			{ours, "index", im.artifact, "application/vnd.oci.image.index.v1+json"},
			{older, "latest", im.manifest, layout.DockerManifest},
			{older, byDigest, im.manifest, layout.DockerManifest},
			{older, digest.SHA512.FromBytes(im.manifest).String(), im.manifest, layout.DockerManifest},
			{older, digest.FromBytes(im.artifact).String(), nil, ""},
			{older, "v1", nil, ""},
			{"", "latest", im.manifest, layout.DockerManifest},
			{"", byDigest, im.manifest, layout.DockerManifest},
		} {
			path := im.manifests(t, test.name, test.reference)
			if test.data == nil && source == "store, and gateway that breaks" && test.name == older && layout.IsDigest(test.reference) {
				s.get(t, 502, path) // it may have it as latest-v2
				continue
			}
			if test.data == nil {
				checkError(t, s, http.MethodGet, path, "MANIFEST_UNKNOWN", 404)
				continue
			}
			want := digest.FromBytes(test.data)
			cache := forever
			if fromGateways(s) && !layout.IsDigest(test.reference) {
				cache = again
			}
			if layout.IsDigest(test.reference) {
				want = digest.Digest(test.reference)
			}
			resp, body := s.get(t, 200, path, "Accept", "application/json")
			if !bytes.Equal(body, test.data) {
				t.Errorf("%s: %s: %q", source, path, body)
			}
			checkHeader(t, resp, test.mediaType, want, len(test.data), cache)

			resp, body, err := s.do(t, http.MethodHead, path)
			if err != nil || resp.StatusCode != 200 || len(body) > 0 {
				t.Errorf("%s: HEAD %s: %s, %q, %v", source, path, resp.Status, body, err)
			}
			checkHeader(t, resp, test.mediaType, want, len(test.data), cache)

			resp, _ = s.get(t, 304, path, "If-None-Match", `"`+want.String()+`"`)
			if got := resp.Header.Get("Content-Type"); got != "" {
				t.Errorf("%s: 304 of %s has the type %s", source, path, got)
			}
			if got := resp.Header.Get("Cache-Control"); got != cache {
				t.Errorf("%s: 304 of %s may be cached: %s", source, path, got)
			}
			checkPrecondition(t, s, path, want)
		}
	}
}

// checkPrecondition asks for content only if it is this one, and if it is
// another, which must leave nothing to cache.
func checkPrecondition(t *testing.T, s *site, path string, d digest.Digest) {
	t.Helper()
	for _, tags := range []string{etag(d), `"x", ` + etag(d), "*"} {
		s.get(t, 200, path, "If-Match", tags)
	}
	for _, tags := range []string{`"x"`, "W/" + etag(d)} {
		resp, _ := s.get(t, 412, path, "If-Match", tags)
		for name, want := range map[string]string{"Cache-Control": "no-store", "ETag": "", "Docker-Content-Digest": "", "Content-Type": ""} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("412 of %s: %s: %q, want %q", path, name, got, want)
			}
		}
	}
}

func checkHeader(t *testing.T, resp *http.Response, mediaType string, d digest.Digest, size int, cache string) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type":                    mediaType,
		"Docker-Content-Digest":           d.String(),
		"Content-Length":                  fmt.Sprint(size),
		"ETag":                            `"` + d.String() + `"`,
		"Cache-Control":                   cache,
		"Docker-Distribution-Api-Version": "registry/2.0",
		"Vary":                            "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s %s: %s: %q, want %q", resp.Request.Method, resp.Request.URL.Path, name, got, want)
		}
	}
}

func TestBlobs(t *testing.T) {
	im := newImages(t)
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		for _, content := range [][]byte{im.config, im.layer, {}} {
			path, d := im.blob(t, content), digest.FromBytes(content)
			resp, body := s.get(t, 200, path)
			if !bytes.Equal(body, content) {
				t.Errorf("%s: %d bytes, not the %d right ones", source, len(body), len(content))
			}
			checkHeader(t, resp, blobType, d, len(content), forever)

			resp, body, err := s.do(t, http.MethodHead, path, "Range", "bytes=0-0")
			if err != nil || resp.StatusCode != 200 || resp.ContentLength != int64(len(content)) || len(body) > 0 {
				t.Errorf("%s: HEAD: %s, %d bytes, %v", source, resp.Status, len(body), err)
			}
			resp, _, _ = s.do(t, http.MethodHead, path)
			cache := forever
			if fromGateways(s) {
				cache = never // it's a gateway that says how long it is
			}
			checkHeader(t, resp, blobType, d, len(content), cache)
			checkPrecondition(t, s, path, d)

			for _, tags := range []string{etag(d), `"x", W/` + etag(d), "*"} {
				resp, _ := s.get(t, 304, path, "If-None-Match", tags)
				if got := resp.Header.Get("ETag"); got != etag(d) {
					t.Errorf("%s: 304 with ETag %s", source, got)
				}
			}
			s.get(t, 200, path, "If-None-Match", `"sha256:x"`)
		}
		// Of nothing there is no part.
		s.get(t, 200, im.blob(t, nil), "Range", "bytes=0-9")
		checkError(t, s, http.MethodGet, im.blob(t, []byte("another")), "BLOB_UNKNOWN", 404)
		checkError(t, s, http.MethodHead, im.blob(t, []byte("another")), "BLOB_UNKNOWN", 404)
		checkError(t, s, http.MethodGet, im.manifests(t, ours, "nothing"), "MANIFEST_UNKNOWN", 404)

		// A 304 would say that there is such a blob.
		resp, _, _ := s.do(t, http.MethodGet, im.blob(t, []byte("another")), "If-None-Match", "*")
		if resp.StatusCode != 404 {
			t.Errorf("%s: what is not there is %s", source, resp.Status)
		}
	}
}

func TestBlobRanges(t *testing.T) {
	im := newImages(t)
	size := len(im.layer)
	d := digest.FromBytes(im.layer)
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		for _, test := range []struct {
			header   string
			from, to int // the whole if equal
		}{
			{"bytes=0-", 0, size},
			{"bytes=5-9", 5, 10},
			{"bytes=-7", size - 7, size},
			{"bytes=300000-", 300000, size},
			{"bytes=10-9999999", 10, size},
			{"bytes=0-0", 0, 1},
			{fmt.Sprintf("bytes=%d-", size-1), size - 1, size},
			{"items=0-1", 0, 0},
			{"bytes=9-5", 0, 0},
			{"bytes=-0", 0, 0},
			{"bytes=x", 0, 0},
			{"bytes=0-1,x", 0, 0},
		} {
			status, want := 206, im.layer[test.from:test.to]
			if test.from == test.to {
				status, want = 200, im.layer
			}
			resp, body := s.get(t, status, im.blob(t, im.layer), "Range", test.header)
			if !bytes.Equal(body, want) {
				t.Errorf("%s: %s: %d bytes, want %d", source, test.header, len(body), len(want))
			}
			if fromGateways(s) && len(want) < size {
				// Nobody checked it, so it must not be kept, nor put together with
				// other parts but by who will.
				if cache, tag := resp.Header.Get("Cache-Control"), resp.Header.Get("ETag"); cache != never || tag != "W/"+etag(d) {
					t.Errorf("%s: %s: Cache-Control: %s, ETag: %s", source, test.header, cache, tag)
				}
			} else {
				checkHeader(t, resp, blobType, d, len(want), forever)
			}
			if part := fmt.Sprintf("bytes %d-%d/%d", test.from, test.to-1, size); status == 206 && resp.Header.Get("Content-Range") != part {
				t.Errorf("%s: %s: Content-Range: %s", source, test.header, resp.Header.Get("Content-Range"))
			}
		}
		resp, _ := s.get(t, 416, im.blob(t, im.layer), "Range", fmt.Sprintf("bytes=%d-", size))
		if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes */%d", size); got != want {
			t.Errorf("%s: Content-Range: %s, want %s", source, got, want)
		}
		if got := resp.Header.Get("Cache-Control") + resp.Header.Get("ETag"); got != "" {
			t.Errorf("%s: 416 may be cached: %s", source, got)
		}
		s.get(t, 206, im.blob(t, im.layer), "Range", "bytes=1-2", "If-Range", etag(d))
		s.get(t, 200, im.blob(t, im.layer), "Range", "bytes=1-2", "If-Range", `"sha256:x"`)
	}
}

// What is served to one who showed who he is stays out of shared caches.
func TestPrivate(t *testing.T) {
	im := newImages(t)
	s := newSite(t, sources["store"](t, im))
	for _, path := range []string{im.blob(t, im.layer), im.manifests(t, ours, "v1")} {
		resp, _ := s.get(t, 200, path, "Authorization", "Basic eDp5")
		if got := resp.Header.Get("Cache-Control"); got != "private, max-age=31536000, immutable, no-transform" {
			t.Errorf("%s with Authorization: %q", path, got)
		}
		resp, _ = s.get(t, 200, path, "Cookie", "session=1")
		if got := resp.Header.Get("Cache-Control"); got != "private, max-age=31536000, immutable, no-transform" {
			t.Errorf("%s with a cookie: %q", path, got)
		}

		for _, who := range []string{"a user", "a certificate"} {
			r, rec, repl := httptest.NewRequest(http.MethodGet, path, nil), httptest.NewRecorder(), caddy.NewReplacer()
			if who == "a user" {
				repl.Set("http.auth.user.id", "somebody")
			} else {
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
			}
			if err := s.handler.ServeHTTP(rec, caddyhttp.PrepareRequest(r, repl, rec, nil), nil); err != nil {
				t.Fatal(err)
			}
			if got := rec.Header().Get("Cache-Control"); got != "private, max-age=31536000, immutable, no-transform" {
				t.Errorf("%s with %s: %q", path, who, got)
			}
		}
	}
}

// What the store cannot read is Caddy's to report, and nobody's 404.
func TestStoreRots(t *testing.T) {
	im := newImages(t)
	for what, test := range map[string]struct{ path, rotten string }{
		"a blob of another digest":     {"/blobs/" + digest.FromString("false").String(), ""},
		"a manifest of another digest": {"/manifests/" + digest.FromString("false").String(), ""},
		"no manifest":                  {"/manifests/page", ""},
		"a damaged table":              {"/blobs/" + digest.FromBytes(im.layer).String(), "files/*"},
		"a damaged node":               {"/manifests/v1", "nodes/*/*"},
	} {
		dir := im.store(t)
		if test.rotten != "" {
			files, err := filepath.Glob(filepath.Join(dir, test.rotten))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.WriteFile(f, []byte("rotten"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		path := "/v2/" + im.repository(t, ours) + test.path
		s := newSite(t, Handler{Store: &Store{Directory: dir}})
		s.get(t, 500, path)
		if err := <-s.errs; err == errNext {
			t.Errorf("%s: %v", what, err)
		}
		entries := s.logged("store failed")
		if len(entries) != 1 || entries[0].ContextMap()["store"] != dir || entries[0].ContextMap()["cid"] != im.root.String() {
			t.Errorf("%s: logged %v", what, entries)
		}
	}

	// A gateway may still have it.
	dir := im.store(t)
	h := gateways(im.gateway(t))
	h.Store = &Store{Directory: dir}
	s := newSite(t, h)
	if err := os.RemoveAll(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	s.get(t, 200, im.blob(t, im.layer))
}

// Blobs go out by sendfile(2), which needs the file itself, behind whatever
// Caddy wraps around the connection.
func TestFilesAreHandedOnAsFiles(t *testing.T) {
	im := newImages(t)
	s := newSite(t, sources["store"](t, im))
	for header, want := range map[string]bool{"": true, "bytes=100-": true, "bytes=-5": true, "bytes=1-2": false} {
		rec := &fileRecorder{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodGet, im.blob(t, im.layer), nil)
		if header != "" {
			r.Header.Set("Range", header)
		}
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), rec, nil)
		if err := s.handler.ServeHTTP(&caddyhttp.IdleTimeoutWriter{
			ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: rec},
			Ctrl:                  http.NewResponseController(rec),
			Logger:                zap.NewNop(),
		}, r, nil); err != nil {
			t.Fatal(err)
		}
		if rec.file != want {
			t.Errorf("Range %q: a file arrived: %v", header, rec.file)
		}
		if header == "" && !bytes.Equal(rec.Body.Bytes(), im.layer) {
			t.Errorf("%d bytes arrived", rec.Body.Len())
		}
	}
}

// fileRecorder is the connection: it looks for a file as package net does.
type fileRecorder struct {
	*httptest.ResponseRecorder
	file bool
}

func (f *fileRecorder) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		_, f.file = limited.R.(syscall.Conn)
	}
	return io.Copy(f.ResponseRecorder, r)
}
