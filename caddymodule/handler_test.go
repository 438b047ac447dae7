package caddymodule

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

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

// Answers to clients with a header field that the operator names, or all answers, stay out
// of shared caches.
func TestPrivateByOption(t *testing.T) {
	im := imagestest.New(t)
	path, public := im.BlobURL(t, im.Layer), "public, max-age=31536000, immutable, no-transform"
	private := strings.Replace(public, "public", "private", 1)
	for _, test := range []struct {
		option     []string
		with, none string
	}{
		{nil, public, public},
		{[]string{"x-api-key", "Other"}, private, public},
		{[]string{"*"}, private, private},
	} {
		s := newSite(t, Handler{Store: &Store{Directory: im.Store(t)}, Private: test.option})
		for want, header := range map[string][]string{"with " + test.with: {"X-Api-Key", "secret"}, "none " + test.none: nil} {
			resp, _ := s.get(t, 200, path, header...)
			if got := resp.Header.Get("Cache-Control"); got != want[len("with "):] {
				t.Errorf("private %v, header %v: %s", test.option, header, got)
			}
		}
	}
}

// Answers to clients that showed credentials stay out of shared caches.
func TestPrivate(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, Handler{Store: &Store{Directory: im.Store(t)}})
	for _, path := range []string{im.BlobURL(t, im.Layer), im.ManifestURL(t, imagestest.Ours, "v1")} {
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

// Blobs go out by sendfile(2), which needs the file itself, behind whatever
// Caddy wraps around the connection.
func TestFilesAreHandedOnAsFiles(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, Handler{Store: &Store{Directory: im.Store(t)}})
	for header, want := range map[string]bool{"": true, "bytes=100-": true, "bytes=-5": true, "bytes=1-2": false} {
		rec := &fileRecorder{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodGet, im.BlobURL(t, im.Layer), nil)
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
		if header == "" && !bytes.Equal(rec.Body.Bytes(), im.Layer) {
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
