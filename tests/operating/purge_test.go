package operating

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A purged image that no gateway has any more is not served: nothing of it is left on
// disk or in memory.
func TestPurgedImageIsNotServedFromCache(t *testing.T) {
	harness.Parallel(t)
	node := harness.NewKubo(t)
	behind, err := url.Parse(node.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	var gone atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(behind)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(gateway.Close)
	store := filepath.Join(t.TempDir(), "store")
	o := harness.NewOperated(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\n}", gateway.URL, store))
	ref := harness.Convert(t, harness.ArchiveOfLayers(t, "app:v1", harness.Noise(300_000)), "--ipfs-api="+node.API, "--registry="+o.URL)
	m, _ := harness.FetchManifest(t, ref)
	layer := harness.Repository(ref) + "/blobs/" + m.Layers[0].Digest
	harness.Get(t, layer)
	o.Await(t, "the layer and the config in the cache", func() bool { return o.Metrics(t)[prefix+`fills_total{result="kept"}`] == 2 })
	gone.Store(true)
	for _, url := range []string{harness.Repository(ref) + "/manifests/latest", layer} {
		if resp := harness.Get(t, url); resp.StatusCode != http.StatusOK {
			t.Errorf("%s without a gateway, before the purge: %d", url, resp.StatusCode)
		}
	}
	o.Ask(t, http.MethodDelete, "/ipfs_registry/images/"+harness.Address(ref))
	for _, url := range []string{harness.Repository(ref) + "/manifests/latest", layer, harness.Repository(ref) + "/tags/list"} {
		if resp := harness.Get(t, url); resp.StatusCode == http.StatusOK {
			t.Errorf("after the purge, %s is answered with %d bytes", url, len(resp.Text))
		}
	}
}

// A blob that a list denies is not served from the cache, whichever image it is part of,
// even if it was cached before the list denied it.
func TestDeniedBlobIsNotServedFromCache(t *testing.T) {
	harness.Parallel(t)
	node := harness.NewKubo(t)
	list := filepath.Join(t.TempDir(), "list.deny")
	harness.WriteFile(t, list, "# nothing yet\n")
	o := harness.NewOperated(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\ndeny %s\n}", node.Gateway, filepath.Join(t.TempDir(), "store"), list))
	shared := harness.Noise(300_000)
	convertTo := func(name string) (ref, layer string) {
		ref = harness.Convert(t, harness.ArchiveOfLayers(t, name, shared), "--ipfs-api="+node.API, "--registry="+o.URL)
		m, _ := harness.FetchManifest(t, ref)
		return ref, m.Layers[0].Digest
	}
	one, layer := convertTo("one:v1")
	two, _ := convertTo("two:v1")
	for _, ref := range []string{one, two} {
		if resp := harness.Get(t, harness.Repository(ref)+"/blobs/"+layer); resp.StatusCode != http.StatusOK {
			t.Errorf("%s before it is denied: %d", ref, resp.StatusCode)
		}
	}
	o.Await(t, "the layer in the cache", func() bool { return o.Metrics(t)[prefix+`fills_total{result="kept"}`] >= 2 })
	file := harness.IPFS(t, node.Repo, "resolve", "/ipfs/"+harness.CIDv1(t, harness.Address(one))+"/one/blobs/"+layer)
	harness.WriteFile(t, list, file+"\n")
	o.Ask(t, http.MethodPost, "/ipfs_registry/lists/reload")
	for _, ref := range []string{one, two} {
		if resp := harness.Get(t, harness.Repository(ref)+"/blobs/"+layer); resp.StatusCode != http.StatusGone {
			t.Errorf("a denied layer of %s is answered with %d", ref, resp.StatusCode)
		}
	}
	harness.WriteFile(t, list, "/ipfs/"+harness.CIDv1(t, harness.Address(two))+"\n")
	o.Ask(t, http.MethodPost, "/ipfs_registry/lists/reload")
	for url, status := range map[string]int{
		harness.Repository(one) + "/blobs/" + layer:   http.StatusOK,
		harness.Repository(two) + "/blobs/" + layer:   http.StatusGone,
		harness.Repository(two) + "/manifests/latest": http.StatusGone,
		harness.Repository(two) + "/tags/list":        http.StatusGone,
	} {
		if resp := harness.Get(t, url); resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", url, resp.StatusCode, status)
		}
	}
}
