package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// What was purged is not served by anything that was kept of it, on disk or in
// memory, when no gateway has it any more.
func TestPurgeOfWhatWasCached(t *testing.T) {
	t.Parallel()
	node := newKubo(t)
	behind, err := url.Parse(node.gateway)
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
	o := newOperated(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\n}", gateway.URL, store))
	ref := convert(t, archiveOfLayers(t, "app:v1", noise(300_000)), "--ipfs-api="+node.api, "--registry="+o.registry)
	m, _ := fetchManifest(t, ref)
	layer := repository(ref) + "/blobs/" + m.Layers[0].Digest
	get(t, layer)
	o.await(t, "the layer and the config in the cache", func() bool { return o.metrics(t)[prefix+`fills_total{result="kept"}`] == 2 })
	gone.Store(true)
	for _, url := range []string{repository(ref) + "/manifests/latest", layer} {
		if resp := get(t, url); resp.StatusCode != http.StatusOK {
			t.Errorf("%s without a gateway, before the purge: %d", url, resp.StatusCode)
		}
	}
	o.ask(t, http.MethodDelete, "/ipfs_registry/images/"+address(ref))
	for _, url := range []string{repository(ref) + "/manifests/latest", layer, repository(ref) + "/tags/list"} {
		if resp := get(t, url); resp.StatusCode == http.StatusOK {
			t.Errorf("%s is answered after the purge, with %d bytes", url, len(resp.body))
		}
	}
}

// What a list denies by now is not served from what was cached before, nor is what
// another image has of it.
func TestDenyOfWhatWasCached(t *testing.T) {
	t.Parallel()
	node := newKubo(t)
	list := filepath.Join(t.TempDir(), "list.deny")
	writeFile(t, list, "# nothing yet\n")
	o := newOperated(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\ndeny %s\n}", node.gateway, filepath.Join(t.TempDir(), "store"), list))
	shared := noise(300_000)
	convertTo := func(name string) (ref, layer string) {
		ref = convert(t, archiveOfLayers(t, name, shared), "--ipfs-api="+node.api, "--registry="+o.registry)
		m, _ := fetchManifest(t, ref)
		return ref, m.Layers[0].Digest
	}
	one, layer := convertTo("one:v1")
	two, _ := convertTo("two:v1")
	for _, ref := range []string{one, two} {
		if resp := get(t, repository(ref)+"/blobs/"+layer); resp.StatusCode != http.StatusOK {
			t.Errorf("%s before it is denied: %d", ref, resp.StatusCode)
		}
	}
	o.await(t, "the layer in the cache", func() bool { return o.metrics(t)[prefix+`fills_total{result="kept"}`] >= 2 })
	file := ipfs(t, node.repo, "resolve", "/ipfs/"+cidV1(t, address(one))+"/one/blobs/"+layer)
	writeFile(t, list, file+"\n")
	o.ask(t, http.MethodPost, "/ipfs_registry/lists/reload")
	for _, ref := range []string{one, two} {
		if resp := get(t, repository(ref)+"/blobs/"+layer); resp.StatusCode != http.StatusGone {
			t.Errorf("a denied layer of %s is answered with %d", ref, resp.StatusCode)
		}
	}
	writeFile(t, list, "/ipfs/"+cidV1(t, address(two))+"\n")
	o.ask(t, http.MethodPost, "/ipfs_registry/lists/reload")
	for url, status := range map[string]int{
		repository(one) + "/blobs/" + layer:   http.StatusOK,
		repository(two) + "/blobs/" + layer:   http.StatusGone,
		repository(two) + "/manifests/latest": http.StatusGone,
		repository(two) + "/tags/list":        http.StatusGone,
	} {
		if resp := get(t, url); resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", url, resp.StatusCode, status)
		}
	}
}
