package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A meter is a gateway before another, which counts what that sends and lets no
// more than so many bytes a second pass.
type meter struct {
	*httptest.Server
	bytes atomic.Int64
	rate  float64 // 0 for any
	next  chan time.Time
}

func newMeter(t *testing.T, gateway string, rate float64) *meter {
	t.Helper()
	behind, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{rate: rate, next: make(chan time.Time, 1)}
	m.next <- time.Time{}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(metered{w, m}, r)
	}))
	t.Cleanup(m.Close)
	return m
}

type metered struct {
	http.ResponseWriter
	*meter
}

func (m metered) Write(b []byte) (int, error) {
	if m.rate > 0 {
		at := <-m.next
		if now := time.Now(); at.Before(now) {
			at = now
		}
		at = at.Add(time.Duration(float64(len(b)) / m.rate * 1e9))
		m.next <- at
		time.Sleep(time.Until(at)) // which is what limits it
	}
	n, err := m.ResponseWriter.Write(b)
	m.bytes.Add(int64(n))
	return n, err
}

func (m metered) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// cachedImage is an image of layers on a node: its path in a registry.
func cachedImage(t *testing.T, node *kubo, name string, layers ...string) (path string) {
	t.Helper()
	ref := convert(t, archiveOfLayers(t, name, layers...), "--quiet", "--ipfs-api="+node.api)
	_, path, _ = strings.Cut(ref, "/")
	return path
}

// cachedImages are so many images, each of one layer of so many bytes that no other
// has.
func cachedImages(t *testing.T, node *kubo, n, size int) (paths []string) {
	t.Helper()
	content := noise(n * size)
	for i := range n {
		paths = append(paths, cachedImage(t, node, fmt.Sprintf("app%d:v1", i), content[i*size:][:size]))
	}
	return paths
}

// withCache is a Caddy in front of gateways, with the cache in a store.
func withCache(t *testing.T, store string, gateways ...string) *caddy {
	t.Helper()
	return newCaddy(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\n}", strings.Join(gateways, " "), store))
}

// mustHave fails the test unless the registry has the whole image, all blobs of
// which so many clients ask for at once. It returns how many bytes the blobs have.
func (c *caddy) mustHave(t *testing.T, path string, clients int) (size int64) {
	t.Helper()
	m, _ := fetchManifest(t, c.host()+"/"+path)
	var all sync.WaitGroup
	for _, blob := range append([]descriptor{m.Config}, m.Layers...) {
		size += int64(blob.Size)
		for range clients {
			all.Go(func() {
				resp, err := fetch(repository(c.host()+"/"+path) + "/blobs/" + blob.Digest)
				if err != nil || resp.StatusCode != http.StatusOK || digestOf([]byte(resp.body)) != blob.Digest {
					t.Errorf("%s: %v, %d bytes, %v", blob.Digest, resp.Response, len(resp.body), err)
				}
			})
		}
	}
	all.Wait()
	return size
}

// pullBy asks for an image at its repository's URL, and may be refused. What comes
// whole must be right.
func pullBy(t *testing.T, fetch func(url string) (response, error), at string) (whole bool) {
	resp, err := fetch(at + "/manifests/latest")
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	for _, part := range strings.Split(resp.body, `"sha256:`)[1:] {
		digest := "sha256:" + part[:64]
		resp, err := fetch(at + "/blobs/" + digest)
		if err != nil || resp.StatusCode >= http.StatusInternalServerError {
			return false
		}
		if resp.StatusCode != http.StatusOK || digestOf([]byte(resp.body)) != digest {
			t.Errorf("%s is answered with %d and something else", digest, resp.StatusCode)
			return false
		}
	}
	return true
}

// However many ask, and whichever of the Caddys with one store, a gateway gives each
// byte once; and when it is gone, all that was pulled is there, after a restart of
// Caddy as well.
func TestCache(t *testing.T) {
	t.Parallel()
	node := newKubo(t)
	path := cachedImage(t, node, "app:v1", noise(20<<20), "short", "")
	gateway := newMeter(t, node.gateway, 50e6)
	store := filepath.Join(t.TempDir(), "store")
	first, second := withCache(t, store, gateway.URL), withCache(t, store, gateway.URL)
	var both sync.WaitGroup
	var size int64
	both.Go(func() { size = first.mustHave(t, path, 20) })
	both.Go(func() { second.mustHave(t, path, 20) })
	both.Wait()
	if sent := gateway.bytes.Load(); float64(sent) > float64(size)*1.01 {
		t.Errorf("%d bytes of %d came from the gateway", sent, size)
	}
	t.Logf("20 clients of 2 Caddys at once: %.4f of the image from the gateway", float64(gateway.bytes.Load())/float64(size))
	first.stop() // which ends what is under way
	second.stop()
	node.stop()
	gateway.Close()
	third := withCache(t, store, gateway.URL)
	third.mustHave(t, path, 3)
	if got := inStore(t, store, "gc"); !strings.Contains(got, "0 files") && got != "" {
		t.Errorf("gc: %q", got)
	}
	inStore(t, store, "verify", "--all")
	third.mustHave(t, path, 1)
	ref := strings.TrimSpace(run(t, exec.Command(inRepo("bin/converter"), "copy", path, "--from", store, "--store", store, "--quiet")))
	if !strings.HasSuffix(ref, strings.TrimSuffix(path, ":v1")) {
		t.Errorf("what was cached and then kept is %q", ref)
	}
	if got := inStore(t, store, "verify", "--all"); !strings.Contains(got, "blocks") {
		t.Errorf("verify: %q", got)
	}
	third.mustHave(t, path, 1)
}

// A new version of an image costs what changed.
func TestCacheOfVersions(t *testing.T) {
	t.Parallel()
	node := newKubo(t)
	content := noise(24 << 20)
	v1 := cachedImage(t, node, "app:v1", content[:20<<20])
	v2 := cachedImage(t, node, "app:v2", content, "a layer more")
	gateway := newMeter(t, node.gateway, 0)
	c := withCache(t, filepath.Join(t.TempDir(), "store"), gateway.URL)
	c.mustHave(t, v1, 1)
	gateway.bytes.Store(0)
	size := c.mustHave(t, v2, 5)
	share := float64(gateway.bytes.Load()) / float64(size)
	if t.Logf("%.3f of the new version came from the gateway", share); share < 0.16 || share > 0.2 {
		t.Error("a sixth of it is new")
	}
}

// A full disk costs nobody anything: what has no room goes past the cache.
func TestCacheOnAFullDisk(t *testing.T) {
	t.Parallel()
	needs(t, "root", "unshare", "bin/caddy")
	node := newKubo(t)
	path := cachedImage(t, node, "app:v1", noise(20<<20))
	gateway := newMeter(t, node.gateway, 50e6)
	store := t.TempDir()
	port := freePort(t)
	d := startCaddy(t, "caddy", cacheCaddyfile(port, t.TempDir(), store, gateway.URL), func(name string, args ...string) *exec.Cmd {
		const script = `mount -t tmpfs -o size=8m tmpfs "$1"; shift; exec "$@"`
		return exec.Command("unshare", append([]string{"--mount", "sh", "-ec", script, "sh", store, name}, args...)...)
	})
	c := &caddy{d, fmt.Sprintf("http://localhost:%d", port)}
	c.mustHave(t, path, 10)
	c.awaitLine(t, "the cache is off")
	c.mustHave(t, path, 1)
	if n := strings.Count(c.log.String(), "the cache is off"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
}

// What is published under a digest that it does not have is cut off before its end,
// and not kept, and the gateway is not bothered with it again and again.
func TestCacheOfALie(t *testing.T) {
	t.Parallel()
	node := newKubo(t)
	content := noise(5 << 20)
	dir := t.TempDir()
	digest := digestOf([]byte("something else"))
	writeFile(t, filepath.Join(dir, "blobs", digest), content)
	root := ipfs(t, node.repo, "add", "--recursive", "--quieter", "--cid-version=1", dir)
	gateway := newMeter(t, node.gateway, 0)
	store := filepath.Join(t.TempDir(), "store")
	c := withCache(t, store, gateway.URL)
	for range 5 {
		resp, err := fetch(c.registry + "/v2/" + root + "/blobs/" + digest)
		if err == nil && resp.StatusCode == http.StatusOK || len(resp.body) >= len(content) {
			t.Errorf("%d bytes of the lie came: %d", len(resp.body), resp.StatusCode)
		}
	}
	if sent := gateway.bytes.Load(); sent > int64(len(content))*5/2 {
		t.Errorf("%d bytes of %d came from the gateway", sent, len(content))
	}
	if kept, err := filepath.Glob(filepath.Join(store, "cache", "blobs", "*", "*")); err != nil || len(kept) > 0 {
		t.Errorf("kept are %q, %v", kept, err)
	}
	c.awaitLine(t, "does not have the digest that it is published under")
	c.mustAnswer(t)
}
