package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

const (
	forever = "public, max-age=31536000, immutable, no-transform"
	again   = "public, no-cache, no-transform"
	never   = "no-store, no-transform"
)

func TestBase(t *testing.T) {
	s := newSite(t, setup{stores: []string{t.TempDir()}})
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
	s := newSite(t, setup{stores: []string{t.TempDir()}})
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
				t.Errorf("%s %s: the next handler's answer has the registry's header", method, path)
			}
		}
	}
}

// sources are the setups that images can come from. Clients must see no difference.
var sources = map[string]func(*testing.T, *imagestest.Images) setup{
	"store":   func(t *testing.T, im *imagestest.Images) setup { return stored(t, im) },
	"gateway": func(t *testing.T, im *imagestest.Images) setup { return gateways(im.Gateway(t)) },
	"store without them, and gateway": func(t *testing.T, im *imagestest.Images) setup {
		h := gateways(im.Gateway(t))
		h.stores = []string{t.TempDir()}
		return h
	},
	"store, and gateway that breaks": func(t *testing.T, im *imagestest.Images) setup {
		h := gateways(im.Gateway(t).Breaks(func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(500) }))
		h.stores = []string{im.Store(t)}
		return h
	},
}

func TestManifests(t *testing.T) {
	im := imagestest.New(t)
	byDigest := digest.FromBytes(im.Manifest).String()
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		for _, test := range []struct {
			name, reference string
			data            []byte
			mediaType       string
		}{
			{ours, "v1", im.Manifest, layout.DockerManifest},
			{ours, "latest", im.Manifest, layout.DockerManifest},
			{ours, byDigest, im.Manifest, layout.DockerManifest},
			{ours, digest.SHA512.FromBytes(im.Manifest).String(), nil, ""}, // there is no such name
			{ours, "index", im.Artifact, "application/vnd.oci.image.index.v1+json"},
			{older, "latest", im.Manifest, layout.DockerManifest},
			{older, byDigest, im.Manifest, layout.DockerManifest},
			{older, digest.SHA512.FromBytes(im.Manifest).String(), im.Manifest, layout.DockerManifest},
			{older, digest.FromBytes(im.Artifact).String(), nil, ""},
			{older, "v1", nil, ""},
			{"", "latest", im.Manifest, layout.DockerManifest},
			{"", byDigest, im.Manifest, layout.DockerManifest},
		} {
			path := im.ManifestURL(t, test.name, test.reference)
			if test.data == nil {
				checkError(t, s, http.MethodGet, path, "MANIFEST_UNKNOWN", 404)
				continue
			}
			want := digest.FromBytes(test.data)
			cache := forever
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

// checkPrecondition asks for content with an If-Match that holds, and with one that fails.
// The 412 must carry nothing that could be cached.
func checkPrecondition(t *testing.T, s *site, path string, d digest.Digest) {
	t.Helper()
	for _, tags := range []string{etagOf(d), `"x", ` + etagOf(d), "*"} {
		s.get(t, 200, path, "If-Match", tags)
	}
	for _, tags := range []string{`"x"`, "W/" + etagOf(d)} {
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
	im := imagestest.New(t)
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		for _, content := range [][]byte{im.Config, im.Layer, {}} {
			path, d := im.BlobURL(t, content), digest.FromBytes(content)
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
			checkHeader(t, resp, blobType, d, len(content), forever)
			checkPrecondition(t, s, path, d)

			for _, tags := range []string{etagOf(d), `"x", W/` + etagOf(d), "*"} {
				resp, _ := s.get(t, 304, path, "If-None-Match", tags)
				if got := resp.Header.Get("ETag"); got != etagOf(d) {
					t.Errorf("%s: 304 with ETag %s", source, got)
				}
			}
			s.get(t, 200, path, "If-None-Match", `"sha256:x"`)
		}
		// An empty blob has no ranges.
		s.get(t, 200, im.BlobURL(t, nil), "Range", "bytes=0-9")
		checkError(t, s, http.MethodGet, im.BlobURL(t, []byte("another")), "BLOB_UNKNOWN", 404)
		checkError(t, s, http.MethodHead, im.BlobURL(t, []byte("another")), "BLOB_UNKNOWN", 404)
		checkError(t, s, http.MethodGet, im.ManifestURL(t, ours, "nothing"), "MANIFEST_UNKNOWN", 404)

		// A 304 would say that the blob exists.
		resp, _, _ := s.do(t, http.MethodGet, im.BlobURL(t, []byte("another")), "If-None-Match", "*")
		if resp.StatusCode != 404 {
			t.Errorf("%s: a missing blob is answered with %s", source, resp.Status)
		}
	}
}

func TestBlobRanges(t *testing.T) {
	im := imagestest.New(t)
	size := len(im.Layer)
	d := digest.FromBytes(im.Layer)
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		for _, test := range []struct {
			header   string
			from, to int // equal: the whole blob
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
			status, want := 206, im.Layer[test.from:test.to]
			if test.from == test.to {
				status, want = 200, im.Layer
			}
			resp, body := s.get(t, status, im.BlobURL(t, im.Layer), "Range", test.header)
			if !bytes.Equal(body, want) {
				t.Errorf("%s: %s: %d bytes, want %d", source, test.header, len(body), len(want))
			}
			checkHeader(t, resp, blobType, d, len(want), forever)
			if part := fmt.Sprintf("bytes %d-%d/%d", test.from, test.to-1, size); status == 206 && resp.Header.Get("Content-Range") != part {
				t.Errorf("%s: %s: Content-Range: %s", source, test.header, resp.Header.Get("Content-Range"))
			}
		}
		resp, _ := s.get(t, 416, im.BlobURL(t, im.Layer), "Range", fmt.Sprintf("bytes=%d-", size))
		if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes */%d", size); got != want {
			t.Errorf("%s: Content-Range: %s, want %s", source, got, want)
		}
		if got := resp.Header.Get("Cache-Control") + resp.Header.Get("ETag"); got != "" {
			t.Errorf("%s: 416 may be cached: %s", source, got)
		}
		s.get(t, 206, im.BlobURL(t, im.Layer), "Range", "bytes=1-2", "If-Range", etagOf(d))
		s.get(t, 200, im.BlobURL(t, im.Layer), "Range", "bytes=1-2", "If-Range", `"sha256:x"`)
	}
}

// Answers to clients that sent credentials stay out of shared caches.
func TestPrivate(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, sources["store"](t, im))
	for _, path := range []string{im.BlobURL(t, im.Layer), im.ManifestURL(t, ours, "v1")} {
		resp, _ := s.get(t, 200, path, "Authorization", "Basic eDp5")
		if got := resp.Header.Get("Cache-Control"); got != "private, max-age=31536000, immutable, no-transform" {
			t.Errorf("%s with Authorization: %q", path, got)
		}
		resp, _ = s.get(t, 200, path, "Cookie", "session=1")
		if got := resp.Header.Get("Cache-Control"); got != "private, max-age=31536000, immutable, no-transform" {
			t.Errorf("%s with a cookie: %q", path, got)
		}

	}
}

// A file that the store cannot read is a failure, and not a 404.
func TestStoreRots(t *testing.T) {
	im := imagestest.New(t)
	for what, test := range map[string]struct{ path, rotten string }{
		"a damaged table": {"/blobs/" + digest.FromBytes(im.Layer).String(), "files/*"},
		"a damaged node":  {"/manifests/v1", "nodes/*/*"},
	} {
		dir := im.Store(t)
		files, err := filepath.Glob(filepath.Join(dir, test.rotten))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte("rotten"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s := newSite(t, setup{stores: []string{dir}})
		s.get(t, 500, "/v2/"+im.Repository(t, ours)+test.path)
		if err := <-s.errs; err == errNext {
			t.Errorf("%s: %v", what, err)
		}
		entries := s.logged("store failed")
		if len(entries) != 1 || entries[0].ContextMap()["store"] != dir || entries[0].ContextMap()["cid"] != im.Root.String() {
			t.Errorf("%s: logged %v", what, entries)
		}
	}

	// A gateway may still have the content.
	dir := im.Store(t)
	h := gateways(im.Gateway(t))
	h.stores = []string{dir}
	s := newSite(t, h)
	if err := os.RemoveAll(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	s.get(t, 200, im.BlobURL(t, im.Layer))
}

// False content of a publisher gets the same answer from a store as from gateways. It is
// logged once, however often clients ask for it.
func TestFalseContentInTheStoreIsLoggedOnce(t *testing.T) {
	im := imagestest.New(t)
	dir := im.Store(t)
	for path, status := range map[string]int{
		"/blobs/" + digest.FromString("false").String():     502,
		"/manifests/" + digest.FromString("false").String(): 400,
		"/manifests/page": 400,
	} {
		s := newSite(t, setup{stores: []string{dir}})
		for range 5 {
			s.get(t, status, "/v2/"+im.Repository(t, ours)+path)
		}
		entries := s.logged("an image in the store is not what its name says")
		if len(entries) != 1 || s.logs.FilterLevelExact(zap.ErrorLevel).Len() != 1 || entries[0].ContextMap()["store"] != dir {
			t.Errorf("%s: logged %v", path, s.logs.All())
		}
	}
}
