package store

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A meter is a proxy in front of a gateway. It counts the bytes that the gateway sends,
// and limits their rate.
type meter struct {
	*httptest.Server
	bytes atomic.Int64
	rate  float64        // bytes a second, or 0 for no limit
	next  chan time.Time // when the next byte may pass
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
		proxy.ServeHTTP(metered{w, m, r.Context()}, r)
	}))
	t.Cleanup(m.Close)
	return m
}

type metered struct {
	http.ResponseWriter
	*meter
	ctx context.Context // the request's
}

func (m metered) Write(b []byte) (int, error) {
	if m.rate > 0 {
		at := <-m.next
		if now := time.Now(); at.Before(now) {
			at = now
		}
		at = at.Add(time.Duration(float64(len(b)) / m.rate * 1e9))
		m.next <- at
		select {
		case <-time.After(time.Until(at)):
		case <-m.ctx.Done():
		}
	}
	n, err := m.ResponseWriter.Write(b)
	m.bytes.Add(int64(n))
	return n, err
}

func (m metered) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// cachedImage converts an image with the given layers onto a node, and returns its path
// in a registry.
func cachedImage(t *testing.T, node *harness.Kubo, name string, layers ...string) (path string) {
	t.Helper()
	ref := harness.Convert(t, harness.ArchiveOfLayers(t, name, layers...), "--quiet", "--ipfs-api="+node.API)
	_, path, _ = strings.Cut(ref, "/")
	return path
}

// cachedImages converts n images onto a node. Each has one layer of size bytes, which no
// other image has.
func cachedImages(t *testing.T, node *harness.Kubo, n, size int) (paths []string) {
	t.Helper()
	content := harness.Noise(n * size)
	for i := range n {
		paths = append(paths, cachedImage(t, node, fmt.Sprintf("app%d:v1", i), content[i*size:][:size]))
	}
	return paths
}

// withCache starts a Caddy with a store, which caches what comes from the gateways.
func withCache(t *testing.T, store string, gateways ...string) *harness.Caddy {
	t.Helper()
	return harness.NewCaddy(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\n}", strings.Join(gateways, " "), store))
}

// pullBy pulls an image from its repository's URL, and reports whether it got the whole
// image. The registry may refuse, but fails the test if it sends a wrong byte.
func pullBy(t *testing.T, fetch func(url string) (harness.Response, error), at string) (whole bool) {
	resp, err := fetch(at + "/manifests/latest")
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	for _, part := range strings.Split(resp.Text, `"sha256:`)[1:] {
		digest := "sha256:" + part[:64]
		resp, err := fetch(at + "/blobs/" + digest)
		if err != nil || resp.StatusCode >= http.StatusInternalServerError {
			return false
		}
		if resp.StatusCode != http.StatusOK || harness.DigestOf([]byte(resp.Text)) != digest {
			t.Errorf("%s is answered with %d and wrong content", digest, resp.StatusCode)
			return false
		}
	}
	return true
}

// A gateway sends each byte once, however many clients pull through however many Caddys
// on one store. When the gateway is gone, the pulled image is still served, also by a
// Caddy that starts later.
func TestGatewaySendsEachByteOnce(t *testing.T) {
	harness.Parallel(t)
	node := harness.NewKubo(t)
	path := cachedImage(t, node, "app:v1", harness.Noise(20<<20), "short", "")
	gateway := newMeter(t, node.Gateway, 50e6)
	store := filepath.Join(t.TempDir(), "store")
	first, second := withCache(t, store, gateway.URL), withCache(t, store, gateway.URL)
	var both sync.WaitGroup
	var size int64
	both.Go(func() { size = first.MustHave(t, path, 20) })
	both.Go(func() { second.MustHave(t, path, 20) })
	both.Wait()
	if sent := gateway.bytes.Load(); float64(sent) > float64(size)*1.1 { // some bytes are on their way when one Caddy finds that the other fetches them
		t.Errorf("the gateway sent %d bytes for an image of %d", sent, size)
	}
	t.Logf("20 clients of each of 2 Caddys: the gateway sent %.4f of the image", float64(gateway.bytes.Load())/float64(size))
	first.StopGently() // so that all fills are kept
	second.StopGently()
	node.Stop()
	gateway.Close()
	third := withCache(t, store, gateway.URL)
	third.MustHave(t, path, 3)
	if got := harness.InStore(t, store, "gc"); !strings.HasPrefix(got, "removed 0 files") {
		t.Errorf("with cached files only, gc prints %q", got)
	}
	harness.InStore(t, store, "verify", "--all")
	third.MustHave(t, path, 1)
	ref := strings.TrimSpace(harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "copy", path, "--from", store, "--store", store, "--quiet")))
	if !strings.HasSuffix(ref, strings.TrimSuffix(path, ":v1")) {
		t.Errorf("copied from the cache into the store, the image is %q", ref)
	}
	if got := harness.InStore(t, store, "verify", "--all"); !strings.Contains(got, "blocks") {
		t.Errorf("verify --all prints %q", got)
	}
	third.MustHave(t, path, 1)
}

// A gateway sends only the changed leaves of a new version, also after a restart of
// Caddy, which then learns from the disk which leaves the store has.
func TestNewVersionCostsWhatChanged(t *testing.T) {
	harness.Parallel(t)
	node := harness.NewKubo(t)
	content := harness.Noise(24 << 20)
	v1 := cachedImage(t, node, "app:v1", content[:20<<20])
	v2 := cachedImage(t, node, "app:v2", content, "a layer more")
	gateway := newMeter(t, node.Gateway, 0)
	store := filepath.Join(t.TempDir(), "store")
	c := withCache(t, store, gateway.URL)
	c.MustHave(t, v1, 1)
	c.StopGently() // so that all fills are kept
	o := harness.NewOperated(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\n}", gateway.URL, store))
	o.Await(t, "an index of the leaves in the store", func() bool {
		return hasLearned.MatchString(o.Ask(t, http.MethodGet, "/debug/pprof/goroutine?debug=2").Text)
	})
	gateway.bytes.Store(0)
	size := o.MustHave(t, v2, 5)
	share := float64(gateway.bytes.Load()) / float64(size)
	if t.Logf("the gateway sent %.3f of the new version", share); share < 0.16 || share > 0.2 {
		t.Error("a sixth of the new version is new, so the gateway must send about 0.17 of it")
	}
}

// hasLearned matches the stacks of a Caddy whose index of leaves waits for new blobs,
// and so knows those that are in the store.
var hasLearned = regexp.MustCompile(`\[select[^\]]*\]:\n\S*/internal/fill\.\(\*Filler\)\.learn\(`)

// If the cache's disk is full, blobs are streamed past the cache and no pull fails.
func TestFullCacheDiskFailsNoPull(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "root", "unshare", "bin/caddy")
	node := harness.NewKubo(t)
	path := cachedImage(t, node, "app:v1", harness.Noise(20<<20))
	gateway := newMeter(t, node.Gateway, 50e6)
	store := t.TempDir()
	port := harness.FreePort(t)
	d := harness.StartCaddy(t, "caddy", cacheCaddyfile(port, t.TempDir(), store, gateway.URL), func(name string, args ...string) *exec.Cmd {
		const script = `mount -t tmpfs -o size=8m tmpfs "$1"; shift; exec "$@"`
		return exec.Command("unshare", append([]string{"--mount", "sh", "-ec", script, "sh", store, name}, args...)...)
	})
	c := &harness.Caddy{Daemon: d, URL: fmt.Sprintf("http://localhost:%d", port)}
	c.MustHave(t, path, 10)
	c.AwaitLine(t, "the cache is off")
	c.MustHave(t, path, 1)
	if n := strings.Count(c.Log.String(), "the cache is off"); n != 1 {
		t.Errorf("the log says %d times that the cache is off, want once", n)
	}
}

// A blob that a publisher put under a wrong digest is cut off before its end and is not
// cached. The gateway is not asked for it every time.
func TestFalseBlobIsNotCached(t *testing.T) {
	harness.Parallel(t)
	node := harness.NewKubo(t)
	content := harness.Noise(5 << 20)
	dir := t.TempDir()
	digest := harness.DigestOf([]byte("something else"))
	harness.WriteFile(t, filepath.Join(dir, "blobs", digest), content)
	root := harness.IPFS(t, node.Repo, "add", "--recursive", "--quieter", "--cid-version=1", dir)
	gateway := newMeter(t, node.Gateway, 0)
	store := filepath.Join(t.TempDir(), "store")
	c := withCache(t, store, gateway.URL)
	for range 5 {
		resp, err := harness.Fetch(c.URL + "/v2/" + root + "/blobs/" + digest)
		if err == nil && resp.StatusCode == http.StatusOK || len(resp.Text) >= len(content) {
			t.Errorf("the client got %d of %d false bytes", len(resp.Text), len(content))
		}
	}
	if sent := gateway.bytes.Load(); sent > int64(len(content))*5/2 {
		t.Errorf("for five requests, the gateway sent %d bytes of a blob of %d", sent, len(content))
	}
	if kept, err := filepath.Glob(filepath.Join(store, "cache", "blobs", "*", "*")); err != nil || len(kept) > 0 {
		t.Errorf("the cache has %q, %v", kept, err)
	}
	c.AwaitLine(t, "does not have the digest that it is published under")
	c.MustAnswer(t)
}
