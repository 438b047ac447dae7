package converter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A testRegistry serves an archive's blobs, and other answers that a test sets. It stands
// for faults that the real registries of the end-to-end tests do not show on demand.
type testRegistry struct {
	*httptest.Server
	blobs   map[string][]byte
	instead map[string]http.HandlerFunc // by the path's end

	mu    sync.Mutex
	asked []string
}

const repository = "/v2/team/app/"

func newTestRegistry(t *testing.T, tb *testimage.Tarball, tags map[string]v1.Descriptor) *testRegistry {
	t.Helper()
	r := &testRegistry{blobs: map[string][]byte{}, instead: map[string]http.HandlerFunc{}}
	for path, data := range tb.Written {
		d := "sha256:" + filepath.Base(path)
		r.blobs["blobs/"+d], r.blobs["manifests/"+d] = data, data
	}
	for tag, d := range tags {
		r.blobs["manifests/"+tag] = tb.Written[ocilayout.BlobPath(d.Digest)]
	}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	t.Setenv("HOME", t.TempDir()) // no credentials
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return r
}

func (r *testRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path, found := strings.CutPrefix(req.URL.Path, repository)
	r.mu.Lock()
	r.asked = append(r.asked, strings.TrimSpace(path+" "+req.Header.Get("Range")))
	r.mu.Unlock()
	switch data, there := r.blobs[path]; {
	case r.instead[req.URL.Path] != nil:
		r.instead[req.URL.Path](w, req)
	case r.instead[path] != nil:
		r.instead[path](w, req)
	case there:
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
	case found:
		http.Error(w, `{"errors":[{"code":"UNKNOWN","message":"unknown"}]}`, http.StatusNotFound)
	}
}

// image is what the registry's image is called with a tag or digest.
func (r *testRegistry) image(suffix string) string {
	return r.Listener.Addr().String() + "/team/app" + suffix
}

func (r *testRegistry) source(suffix string) source.Source {
	return source.FromRegistry(r.image(suffix), true)
}

// An image in a registry is converted like one in a layout. Only wanted blobs are asked
// for, and referrers are converted with the image.
func TestRegistry(t *testing.T) {
	tb := new(testimage.Tarball)
	index, amd64, arm64 := testimage.MultiPlatform(tb)
	tb.Blob([]byte("{}")).Blob([]byte("[]"))
	sign := func(d v1.Descriptor) v1.Descriptor {
		signature := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte("[]"))
		signature.Subject = &d
		tb.Blob(testimage.Marshal(signature))
		return testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(signature))
	}
	signatures := map[digest.Digest]v1.Descriptor{amd64.Digest: sign(amd64), arm64.Digest: sign(arm64)}
	gone := testimage.Describe(v1.MediaTypeImageManifest, []byte("gone"))
	r := newTestRegistry(t, tb, map[string]v1.Descriptor{"1.0": index})
	r.blobs["referrers/"+amd64.Digest.String()] = testimage.Marshal(v1.Index{Manifests: []v1.Descriptor{signatures[amd64.Digest], signatures[arm64.Digest], gone}})
	r.blobs["manifests/sha256-"+arm64.Digest.Encoded()] = testimage.Marshal(v1.Index{Manifests: []v1.Descriptor{signatures[arm64.Digest]}})

	want := mustConvertFrom(t, source.FromArchive(bytes.NewReader(testimage.LayoutOf(tb, testimage.Tagged(index, "host.example/team/app:1.0")))), Options{})
	if got := mustConvertFrom(t, r.source(":1.0"), Options{}); got.Root != want.Root {
		t.Errorf("the root is %s, want %s: %v", got.Root, want.Root, got.Images)
	}
	got := mustConvertFrom(t, r.source("@"+index.Digest.String()), Options{})
	if img := got.Images[0]; img.Name != "team/app" || img.Tag != "" || img.Digest != index.Digest {
		t.Errorf("by digest, it is %v", img)
	}
	for _, test := range []struct {
		platform platform.Platform
		chosen   v1.Descriptor
		other    v1.Descriptor
	}{{platform.Platform{OS: "linux", Architecture: "amd64"}, amd64, arm64}, {platform.Platform{OS: "linux", Architecture: "arm64"}, arm64, amd64}} {
		r.asked = nil
		got := mustConvertFrom(t, r.source(":1.0"), Options{Platform: &test.platform})
		if len(got.Images) != 1 || got.Images[0].Digest != test.chosen.Digest {
			t.Errorf("%s is %v", test.platform, got.Images)
		}
		got.mustHave(t, signatures[test.chosen.Digest].Digest.String())
		if asked := strings.Join(r.asked, " "); strings.Contains(asked, test.other.Digest.String()) {
			t.Errorf("for %s, there was asked: %s", test.platform, asked)
		}
	}
	strong := digest.SHA512.FromBytes(tb.Written[ocilayout.BlobPath(amd64.Digest)])
	r.blobs["manifests/"+strong.String()] = tb.Written[ocilayout.BlobPath(amd64.Digest)]
	got = mustConvertFrom(t, r.source("@"+strong.String()), Options{})
	got.mustHave(t, strong.String())
	got.mustHave(t, amd64.Digest.String())
}

// A download continues where its connection broke, also if the registry ignores ranges.
func TestDownloadGoesOn(t *testing.T) {
	tb := new(testimage.Tarball)
	img := testimage.New(nil, testimage.Layer("a", 300_000))
	m := testimage.GzippedImage(tb, img)
	layer := testimage.Gzipped(img.Layers[0])
	path := "blobs/" + digest.FromBytes(layer).String()
	for name, ranges := range map[string]bool{"ranges": true, "no ranges": false} {
		r := newTestRegistry(t, tb, map[string]v1.Descriptor{"1.0": m})
		times := 0
		r.instead[path] = func(w http.ResponseWriter, req *http.Request) {
			if times++; times > 2 && ranges {
				http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(layer))
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
			if times > 2 {
				w.Write(layer)
				return
			}
			w.Write(layer[:len(layer)*times/3])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		got := mustConvertFrom(t, r.source(":1.0"), Options{})
		if blob, err := got.blob(t, digest.FromBytes(layer)); err != nil || !bytes.Equal(blob, layer) {
			t.Errorf("%s: the layer is %d bytes, %v", name, len(blob), err)
		}
		if times != 3 || !slices.ContainsFunc(r.asked, func(s string) bool { return strings.HasPrefix(s, path+" bytes=") }) {
			t.Errorf("%s: after %d times, there was asked %q", name, times, r.asked)
		}
	}
}

func TestRegistryFailures(t *testing.T) {
	tb := new(testimage.Tarball)
	img := testimage.New(nil, testimage.Layer("a", 300_000))
	m := testimage.GzippedImage(tb, img)
	layer := testimage.Gzipped(img.Layers[0])
	blob := "blobs/" + digest.FromBytes(layer).String()
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write([]byte(body))
		}
	}
	challenge := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	const manifest = "manifests/1.0"
	for name, test := range map[string]struct {
		at      string
		instead http.HandlerFunc
		want    string
	}{
		"no such tag":     {manifest, answer(404, ""), "has no team/app:1.0: there is 0.8, 0.9"},
		"HTML":            {manifest, answer(200, "<html>\n<body>Welcome"), "not an image manifest"},
		"HTML for all":    {"/v2/", answer(500, "<html>\n<body>Welcome"), "500: Internal Server Error"},
		"a long manifest": {manifest, answer(200, strings.Repeat(" ", layout.MaxManifest+1)), "longer than"},
		"unauthorized":    {manifest, challenge, "refuses access to"},
		"not for us":      {blob, answer(403, ""), "refuses access to"},
		"too many":        {manifest, answer(429, ""), "too many requests"},
		"not allowed":     {manifest, answer(400, `{"errors":[{"code":"X","message":"no such thing"}]}`), "answers 400: no such thing"},
		"missing layer":   {blob, answer(404, ""), "is not in the registry 127.0.0.1"},
		"another layer":   {blob, answer(200, strings.Repeat("x", len(layer))), "has the digest"},
		"longer layer":    {blob, answer(200, string(layer)+"x"), "longer than its descriptor says"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRegistry(t, tb, map[string]v1.Descriptor{"1.0": m})
			r.instead["tags/list"] = answer(200, `{"name":"team/app","tags":["0.9","0.8"]}`)
			r.instead[test.at] = test.instead
			_, err := convertFrom(t, r.source(":1.0"), Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}

// A registry that fails to list referrers fails the conversion. A registry without such
// a list does not.
func TestReferrersOfARegistry(t *testing.T) {
	tb := new(testimage.Tarball)
	subject := testimage.GzippedImage(tb, testimage.New(nil, testimage.Layer("a", 1000)))
	sign := func(text string) v1.Descriptor {
		m := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte(text))
		m.Subject = &subject
		tb.Blob([]byte("{}")).Blob([]byte(text)).Blob(testimage.Marshal(m))
		return testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m))
	}
	one, two, three := sign("one"), sign("two"), sign("three")
	api := "referrers/" + subject.Digest.String()
	tag := "manifests/sha256-" + subject.Digest.Encoded()
	answer := func(status int, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write(body)
		}
	}
	list := func(d ...v1.Descriptor) []byte {
		index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: append([]v1.Descriptor{}, d...)}
		index.SchemaVersion = 2
		return testimage.Marshal(index)
	}
	broken := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write(list(one))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	// pages serves a list in three pages, the last of which is the given handler's.
	pages := func(link string, last http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.RawQuery {
			case "":
				w.Header().Set("Link", fmt.Sprintf(link, repository+api+"?last=1"))
				w.Write(list(one))
			case "last=1":
				w.Header().Set("Link", fmt.Sprintf(link, "?last=2"))
				w.Write(list(two))
			default:
				last(w, req)
			}
		}
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `<?again>; rel=next`)
		w.Write(list())
	}
	const next = `<%s>; rel="next"`
	for name, test := range map[string]struct {
		api, tag http.HandlerFunc
		found    []v1.Descriptor
		want     string // in the error
	}{
		"none":                   {answer(404, nil), answer(404, nil), nil, ""},
		"none, it says":          {answer(200, list()), answer(200, list(one)), nil, ""},
		"no such thing":          {answer(400, nil), answer(404, nil), nil, ""},
		"no method":              {answer(405, nil), answer(200, list(one)), []v1.Descriptor{one}, ""},
		"nothing acceptable":     {answer(406, nil), answer(200, list(one)), []v1.Descriptor{one}, ""},
		"not there yet":          {answer(501, nil), answer(200, list(one)), []v1.Descriptor{one}, ""},
		"a page for people":      {answer(200, []byte("<html>")), answer(200, list(one)), []v1.Descriptor{one}, ""},
		"too many":               {answer(429, nil), answer(404, nil), nil, "too many requests"},
		"too many for the tag":   {answer(404, nil), answer(429, nil), nil, "too many requests"},
		"not for us":             {answer(403, nil), answer(404, nil), nil, "refuses access to"},
		"broken":                 {broken, answer(404, nil), nil, "unexpected EOF"},
		"three pages":            {pages(next, answer(200, list(three))), answer(404, nil), []v1.Descriptor{one, two, three}, ""},
		"three, and no such":     {pages(next, answer(404, nil)), answer(404, nil), nil, "ends early"},
		"three, and too many":    {pages(next, answer(429, nil)), answer(404, nil), nil, "too many requests"},
		"pages somewhere else":   {pages(`</v2/other/referrers%.0s>; rel="next"`, nil), answer(404, nil), nil, "is not in team/app"},
		"pages that never end":   {endless, answer(404, nil), nil, "in more than 1000 pages"},
		"a link to other things": {pages(`<%s>; rel="first"`, nil), answer(404, nil), []v1.Descriptor{one}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRegistry(t, tb, map[string]v1.Descriptor{"1.0": subject})
			r.instead[api], r.instead[tag] = test.api, test.tag
			got, err := convertFrom(t, r.source(":1.0"), Options{})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("the error is %v, want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []v1.Descriptor{one, two, three} {
				_, err := got.manifest(t, d.Digest.String())
				if there := slices.ContainsFunc(test.found, func(f v1.Descriptor) bool { return f.Digest == d.Digest }); (err == nil) != there {
					t.Errorf("signature %s: %v, want it there: %t", d.Digest, err, there)
				}
			}
		})
	}
}

// An image whose name no client could pull is not fetched, and Ctrl-C ends a download.
func TestRegistryIsNotAsked(t *testing.T) {
	r := newTestRegistry(t, new(testimage.Tarball), nil)
	if _, err := convertFrom(t, r.source("/blobs:1.0"), Options{}); err == nil || !strings.Contains(err.Error(), "image name") {
		t.Errorf("a name that cannot be: %v", err)
	}
	if len(r.asked) > 0 {
		t.Errorf("there was asked %q", r.asked)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	r.instead["manifests/1.0"] = func(_ http.ResponseWriter, req *http.Request) {
		cancel(enough)
		<-req.Context().Done()
	}
	dst, err := destination.ToStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := Convert(ctx, r.source(":1.0"), dst, Options{}); !errors.Is(err, enough) {
		t.Errorf("cancelled, the error is %v", err)
	}
}

func TestFindDocker(t *testing.T) {
	certs := t.TempDir()
	for _, file := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if err := os.WriteFile(filepath.Join(certs, file), []byte("nothing"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ host, verify, want string }{
		{"ssh://root@host.example", "", "Docker over ssh is not supported"},
		{"npipe:////./pipe/docker_engine", "", "use a URL like"},
		{"tcp://127.0.0.1:1", "1", "reading Docker's certificates"},
		{"unix://" + filepath.Join(certs, "missing"), "", "no such file"},
	} {
		t.Setenv("DOCKER_HOST", test.host)
		t.Setenv("DOCKER_TLS_VERIFY", test.verify)
		t.Setenv("DOCKER_CERT_PATH", certs)
		if _, err := convertFrom(t, source.FromDocker("app"), Options{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want %q", test.host, err, test.want)
		}
	}
}
