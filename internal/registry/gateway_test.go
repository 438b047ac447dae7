package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

type fault = imagestest.Fault

func flip(w http.ResponseWriter, r *http.Request, body []byte) {
	body = bytes.Clone(body)
	if len(body) > 0 {
		body[len(body)-1] ^= 1
	}
	imagestest.Honest(w, r, body)
}

// cut breaks the connection after n bytes of a body that is longer.
func cut(n int) fault {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		if len(body) <= n {
			imagestest.Honest(w, r, body)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:n])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// stall sends nothing after n bytes of a longer body, until the request is cancelled.
func stall(n int) fault {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		if len(body) <= n {
			imagestest.Honest(w, r, body)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:n])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

var faults = map[string]fault{
	"flips a bit": flip,
	"ends early": func(w http.ResponseWriter, _ *http.Request, body []byte) {
		w.Write(body[:len(body)/2])
		http.NewResponseController(w).Flush() // chunked, so the end is a clean one
	},
	"breaks off":     cut(5),
	"stalls at once": stall(0),
	"stalls":         stall(5),
	"has nothing":    func(w http.ResponseWriter, r *http.Request, _ []byte) { http.NotFound(w, r) },
	"fails":          func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(500) },
	"sends a page": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<html>Welcome</html>")
	},
	"sends people away": func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	},
	"loops": func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, r.URL.String(), http.StatusFound)
	},
	"compresses": func(w http.ResponseWriter, _ *http.Request, body []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(body)
	},
	"hangs up": func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) },
}

// hurry shortens the patience where a gateway stalls, so that the test ends soon. The same
// patience applies to the honest gateway, so it must be long enough on a busy machine.
func (c setup) hurry(fault string) setup {
	if strings.HasPrefix(fault, "stalls") {
		c.patience = time.Second
	}
	return c
}

// A bad gateway costs time, and clients do not notice.
func TestBadGatewayBesideAnHonestOne(t *testing.T) {
	im := imagestest.New(t)
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, test := range []struct {
				path string
				want []byte
			}{
				{im.ManifestURL(t, ours, digest.FromBytes(im.Manifest).String()), im.Manifest},
				{im.BlobURL(t, im.Config), im.Config},
			} {
				bad, good := im.Gateway(t).Breaks(fault), im.Gateway(t)
				s := newSite(t, gateways(bad, good).hurry(name))
				if _, body := s.get(t, 200, test.path); !bytes.Equal(body, test.want) {
					t.Errorf("%s: %q", test.path, body)
				}
				if len(bad.Asked()) == 0 || len(good.Asked()) == 0 {
					t.Errorf("%s: both must have been asked", test.path)
				}
			}
		})
	}
}

// A bad gateway alone is a failure, not an answer of the protocol.
func TestBadGatewayAlone(t *testing.T) {
	im := imagestest.New(t)
	for name := range faults {
		want := http.StatusBadGateway
		if strings.HasPrefix(name, "stalls") {
			want = http.StatusGatewayTimeout
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, gateways(im.Gateway(t).Breaks(faults[name])).hurry(name))
			for _, path := range []string{im.ManifestURL(t, ours, digest.FromBytes(im.Manifest).String()), im.BlobURL(t, im.Config)} {
				s.get(t, want, path)
				if failure, ok := errors.AsType[*Failure](<-s.errs); !ok || failure.Status != want {
					t.Errorf("%s: %v", path, failure)
				}
			}
		})
	}
}

// A gateway's 404 does not prove absence: only a directory does.
func TestOnlyADirectoryProvesAbsence(t *testing.T) {
	im := imagestest.New(t)
	path := im.BlobURL(t, []byte("another"))
	checkError(t, newSite(t, gateways(im.Gateway(t))), http.MethodGet, path, "BLOB_UNKNOWN", 404)
	for _, name := range []string{"has nothing", "fails"} {
		newSite(t, gateways(im.Gateway(t).Breaks(faults[name]))).get(t, http.StatusBadGateway, path)
	}
}

// A gateway that does not answer must not hide the layouts that take a second look.
func TestOlderLayoutBesideADeadGateway(t *testing.T) {
	im := imagestest.New(t)
	dead := im.Gateway(t)
	dead.Close()
	for _, reference := range []string{"latest", digest.FromBytes(im.Manifest).String()} {
		s := newSite(t, gateways(dead, im.Gateway(t)))
		if _, body := s.get(t, 200, im.ManifestURL(t, older, reference)); !bytes.Equal(body, im.Manifest) {
			t.Errorf("%s: %q", reference, body)
		}
	}
}

// After a failure in the middle of a blob, another gateway continues, or the same one.
func TestBlobGoesOn(t *testing.T) {
	im := imagestest.New(t)
	const at = 600_000
	first := func(f fault) fault { // once
		var done atomic.Bool
		return func(w http.ResponseWriter, r *http.Request, body []byte) {
			if len(body) > at && done.CompareAndSwap(false, true) {
				f(w, r, body)
			}
			imagestest.Honest(w, r, body)
		}
	}
	for name, test := range map[string]struct {
		bad   fault
		alone bool
	}{
		"breaks off":        {cut(at), false},
		"stalls":            {stall(at), false},
		"flips a bit":       {flip, false},
		"breaks off, alone": {first(cut(at)), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := gateways(im.Gateway(t).Breaks(test.bad), im.Gateway(t))
			if test.alone {
				c.gateways = c.gateways[:1]
			}
			s := newSite(t, c.hurry(name))
			resp, body := s.get(t, 200, im.BlobURL(t, im.Layer))
			if !bytes.Equal(body, im.Layer) {
				t.Errorf("%d bytes, not the right %d", len(body), len(im.Layer))
			}
			checkHeader(t, resp, blobType, digest.FromBytes(im.Layer), len(im.Layer), forever)
		})
	}
}

// A false answer is in the log, with the gateway that gave it.
func TestFalseContentIsLogged(t *testing.T) {
	im := imagestest.New(t)
	liar := im.Gateway(t).Breaks(flip)
	s := newSite(t, gateways(liar, im.Gateway(t)))
	s.get(t, 200, im.BlobURL(t, im.Layer))
	entries := s.logged("gateway sent false content")
	if len(entries) == 0 || entries[0].Level != zap.ErrorLevel {
		t.Fatalf("logged %v", s.logs.All())
	}
	fields := entries[0].ContextMap()
	for name, want := range map[string]string{
		"cid": im.Root.String(), "name": ours, "digest": digest.FromBytes(im.Layer).String(), "gateway": liar.URL,
	} {
		if fields[name] != want {
			t.Errorf("logged %s: %v, want %s", name, fields[name], want)
		}
	}
}

// An image in an older layout is not absent merely because the look-up fails.
func TestOlderLayoutAtABrokenGateway(t *testing.T) {
	im := imagestest.New(t)
	g := im.Gateway(t).Breaks(faults["fails"])
	for _, reference := range []string{"latest", digest.FromBytes(im.Manifest).String()} {
		newSite(t, gateways(g)).get(t, 502, im.ManifestURL(t, older, reference))
		newSite(t, gateways(im.Gateway(t).Breaks(faults["has nothing"]), g)).get(t, 502, im.ManifestURL(t, older, reference))
	}
}

// Blobs are redirected, but neither manifests nor blobs on disk.
func TestRedirect(t *testing.T) {
	im := imagestest.New(t)
	g := im.Gateway(t)
	at := "/ipfs/" + im.Root.String() + "/" + ours + "/blobs/" + digest.FromBytes(im.Layer).String()
	for redirect, location := range map[string]string{
		g.URL:                      g.URL + at,
		"https://gw.example/below": "https://gw.example/below" + at,
	} {
		s := newSite(t, setup{gateways: []*imagestest.Gateway{g}, redirect: redirect})
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, _, err := s.do(t, method, im.BlobURL(t, im.Layer))
			if err != nil || resp.StatusCode != 307 || resp.Header.Get("Location") != location || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s, %v, %v", method, resp.Status, resp.Header, err)
			}
		}
		s.get(t, 200, im.ManifestURL(t, ours, "v1"))
	}
	newSite(t, setup{gateways: []*imagestest.Gateway{g}, redirect: g.URL, stores: []string{im.Store(t)}}).get(t, 200, im.BlobURL(t, im.Layer))
}

// The store comes first. Gateways are asked only for content that it lacks.
func TestStoreFirst(t *testing.T) {
	im := imagestest.New(t)
	g := im.Gateway(t)
	s := newSite(t, setup{gateways: []*imagestest.Gateway{g}, stores: []string{im.Store(t)}})
	s.get(t, 200, im.BlobURL(t, im.Layer))
	s.get(t, 200, im.ManifestURL(t, ours, "v1"))
	if n := len(g.Asked()); n != 0 {
		t.Errorf("a gateway was asked %d times for what is on disk", n)
	}
}

// If the store proves that content is absent, no gateway is asked for it.
func TestAbsenceInTheStoreIsFinal(t *testing.T) {
	im := imagestest.New(t)
	g := im.Gateway(t)
	s := newSite(t, setup{gateways: []*imagestest.Gateway{g}, stores: []string{im.Store(t)}})
	checkError(t, s, http.MethodGet, im.BlobURL(t, []byte("another")), "BLOB_UNKNOWN", 404)
	checkError(t, s, http.MethodGet, im.ManifestURL(t, ours, "v9"), "MANIFEST_UNKNOWN", 404)
	if asked := g.Asked(); len(asked) > 0 {
		t.Errorf("a gateway was asked for %s", asked[0].URL)
	}
}

// The root of a private image is a secret, so no kind of request may show it to a gateway.
func TestImageOfTheStoreIsShownToNoGateway(t *testing.T) {
	im := imagestest.New(t)
	g := im.Gateway(t)
	s := newSite(t, setup{gateways: []*imagestest.Gateway{g}, stores: []string{im.Store(t)}})
	image, _, _ := strings.Cut(im.ManifestURL(t, ours, "v1"), "/manifests/")
	root, _, _ := strings.Cut(strings.TrimPrefix(image, "/v2/"), "/")
	digestOf := "sha256:" + strings.Repeat("0", 64)
	for _, path := range []string{
		im.ManifestURL(t, ours, "v1"), im.ManifestURL(t, ours, "none"), image + "/manifests/" + digestOf,
		im.BlobURL(t, im.Layer), im.BlobURL(t, im.Config), image + "/blobs/" + digestOf,
		image + "/tags/list", image + "/referrers/" + digestOf, image + "/manifests/" + strings.Replace(digestOf, ":", "-", 1),
		"/v2/" + root + "/none/manifests/v1", "/v2/" + root + "/none/tags/list", "/v2/" + root + "/manifests/latest", "/v2/" + root + "/tags/list",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Range", "bytes=0-9")
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if asked := g.Asked(); len(asked) > 0 || resp.StatusCode >= 500 {
				t.Errorf("%s %s: %s, and gateways were asked for %d things", method, path, resp.Status, len(asked))
			}
		}
	}
}

// A client that leaves neither counts against a gateway nor causes a log entry.
func TestClientLeaves(t *testing.T) {
	im := imagestest.New(t)
	for _, n := range []int{0, 600_000} { // before anything was sent, and afterwards
		first, second := im.Gateway(t), im.Gateway(t)
		s := newSite(t, gateways(first, second))
		reached, gone := make(chan struct{}), make(chan struct{})
		reach, leave := sync.OnceFunc(func() { close(reached) }), sync.OnceFunc(func() { close(gone) })
		first.Breaks(func(w http.ResponseWriter, r *http.Request, content []byte) {
			if len(content) <= 600_000 && n > 0 {
				imagestest.Honest(w, r, content)
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:n])
			http.NewResponseController(w).Flush()
			reach()
			<-r.Context().Done()
			leave()
		})
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+im.BlobURL(t, im.Layer), nil)
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
			if failure, ok := errors.AsType[*Failure](<-s.errs); !ok || failure.Status != StatusClientClosedRequest {
				t.Errorf("the failure is %v", failure)
			}
		}
		if all := s.logs.All(); len(all) != 0 {
			t.Errorf("logged %v", all)
		}
		first.Breaks(nil)
		first.Asked()
		s.get(t, 200, im.BlobURL(t, im.Config))
		if len(first.Asked()) == 0 || len(second.Asked()) != 0 {
			t.Error("the gateway is asked last now")
		}
	}
}

// Gateways of one group take turns.
func TestGatewaysTakeTurns(t *testing.T) {
	im := imagestest.New(t)
	a, b := im.Gateway(t), im.Gateway(t)
	s := newSite(t, setup{gateways: []*imagestest.Gateway{a, b}, oneGroup: true})
	for range 4 {
		s.get(t, 200, im.BlobURL(t, im.Layer))
	}
	if na, nb := len(a.Asked()), len(b.Asked()); na == 0 || nb == 0 {
		t.Errorf("asked %d and %d times", na, nb)
	}
}

// Many requests at once, through gateways that fail, reveal races and buffers that are
// used twice.
func TestConcurrent(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, setup{gateways: []*imagestest.Gateway{im.Gateway(t).Breaks(cut(300_000)), im.Gateway(t)}, oneGroup: true})
	results := make(chan error)
	for range 16 {
		go func() {
			resp, err := http.Get(s.URL + im.BlobURL(t, im.Layer))
			if err != nil {
				results <- err
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil && !slices.Equal(body, im.Layer) {
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
