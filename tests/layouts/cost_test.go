package layouts

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A cold manifest in our own layout takes one gateway request, also with deny lists, and
// the blob after it takes no more than any file. Other programs' layouts take the
// requests that it takes to recognise them, once.
func TestColdManifestCostsFewGatewayRequests(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	gateway := newCountingGateway(t, node)
	ours := fixture{name: "format 1", publish: func(t *testing.T, node *harness.Kubo, img harness.Image) published {
		ref := harness.Convert(t, img.Archive, "--ipfs-api="+node.API)
		m, largest := manifestOn(t, node, ref), harness.Descriptor{}
		for _, layer := range m.Layers {
			if layer.Size > largest.Size {
				largest = layer
			}
		}
		return published{harness.RootOf(t, ref) + "/" + harness.ImageName + ":v1", m.Config.Digest, largest.Digest}
	}}
	for _, test := range []struct {
		fixture
		options        string
		manifest, blob int // requests at most
	}{
		{ours, "", 1, 2},
		{ours, "deny " + emptyList(t), 1, 3},
		{fixtureOf(t, "ipdr 0.1.7"), "", 1, 2},
		{fixtureOf(t, "image2ipfs"), "", 3, 2},
		{fixtureOf(t, "nerdctl"), "", 2, 2},
		{fixtureOf(t, "skopeo"), "", 3, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := test.publish(t, node, img)
			caddy := harness.NewCaddy(t, "ipfs_registry "+gateway.URL+" {\n"+test.options+"\n}")
			repository := caddy.URL + "/v2/" + is.repository()
			cost := func(path string, most int) {
				t.Helper()
				gateway.asked()
				if resp := harness.Get(t, repository+path); resp.StatusCode != http.StatusOK {
					t.Fatalf("%s: %s: %s", path, resp.Status, resp.Text)
				}
				if asked := gateway.asked(); len(asked) > most {
					t.Errorf("%s took %d requests, want at most %d:\n%s", path, len(asked), most, strings.Join(asked, "\n"))
				}
			}
			cost("/manifests/"+is.tag(), test.manifest)
			cost("/manifests/"+is.tag(), 0)
			cost("/blobs/"+is.layer, test.blob)
		})
	}
}

func fixtureOf(t *testing.T, name string) fixture {
	t.Helper()
	for _, f := range fixtures {
		if f.name == name {
			return f
		}
	}
	t.Fatal("no fixture " + name)
	return fixture{}
}

// manifestOn returns the manifest of an image that the converter added to a node.
func manifestOn(t *testing.T, node *harness.Kubo, ref string) harness.Manifest {
	t.Helper()
	caddy := harness.NewCaddy(t, "ipfs_registry "+node.Gateway)
	_, path, _ := strings.Cut(ref, "/")
	m, _ := harness.FetchManifest(t, caddy.Host()+"/"+path)
	return m
}

// A countingGateway passes on a node's answers, and records the requests.
type countingGateway struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
}

func newCountingGateway(t *testing.T, node *harness.Kubo) *countingGateway {
	t.Helper()
	to, err := url.Parse(node.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	g := new(countingGateway)
	proxy := httputil.NewSingleHostReverseProxy(to)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.requests = append(g.requests, fmt.Sprint(r.URL, " ", r.Header.Get("Range")))
		g.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// asked returns the requests since the last call.
func (g *countingGateway) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.requests
	g.requests = nil
	return asked
}
