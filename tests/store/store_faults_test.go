package store

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// If a store becomes read-only during fills, no pull fails: clients get the blobs that
// are being filled to their ends, and later blobs are streamed past the cache.
func TestPullsGoOnWhenStoreBecomesReadOnly(t *testing.T) {
	harness.Parallel(t)
	for name, lose := range map[string]func(t *testing.T, c *harness.Caddy, store string){
		"read-only": func(t *testing.T, c *harness.Caddy, store string) {
			// Remounting in place would fail while Caddy writes there.
			const mount = `mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; mount --move "$2" "$1"`
			harness.Run(t, exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", c.Cmd.Process.Pid), "sh", "-ec", mount, "sh", store, t.TempDir()))
		},
		"of another user": func(t *testing.T, _ *harness.Caddy, store string) {
			harness.Run(t, exec.Command("chown", "-R", "0:0", store))
			harness.Run(t, exec.Command("chmod", "-R", "go-rwx", filepath.Join(store, "cache", "blobs"), filepath.Join(store, "cache", "files")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			harness.Parallel(t)
			testLosingTheStore(t, lose)
		})
	}
}

func testLosingTheStore(t *testing.T, lose func(*testing.T, *harness.Caddy, string)) {
	harness.Need(t, "root", "unshare", "nsenter", "setpriv", "bin/caddy")
	const images, clients = 4, 5
	node := harness.NewKubo(t)
	gateway := harness.NewSlowGateway(t, node.Gateway)
	paths := cachedImages(t, node, images, 4<<20)
	store := t.TempDir()
	c := asNobody(t, store, gateway.URL)
	c.MustHave(t, paths[0], clients)
	gateway.Hold()
	var all sync.WaitGroup
	for _, path := range paths[1:] {
		all.Go(func() { c.MustHave(t, path, clients) })
	}
	gateway.Give(3 << 20)
	c.Await(t, "fills in progress", func() bool { return gateway.Waiting() > 0 })
	lose(t, c, store)
	gateway.Release()
	all.Wait()
	for _, path := range paths {
		c.MustHave(t, path, clients)
	}
	if n := strings.Count(c.Log.String(), "the cache is off"); n != 1 {
		t.Errorf("the log says %d times that the cache is off, want once", n)
	}
	t.Logf("%d images pulled by %d clients each, 0 lost", images, clients)
}

// asNobody starts a Caddy with a store and gateways, without privileges and in its own
// mount namespace.
func asNobody(t *testing.T, store string, gateways ...string) *harness.Caddy {
	t.Helper()
	port, storage := harness.FreePort(t), t.TempDir()
	if err := os.Chmod(filepath.Dir(store), 0o755); err != nil { // the parent of all temporary directories of the test
		t.Fatal(err)
	}
	for _, dir := range []string{store, storage} {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	caddyfile := cacheCaddyfile(port, storage, store, gateways...)
	d := harness.StartCaddy(t, "caddy", caddyfile, func(name string, args ...string) *exec.Cmd {
		return exec.Command("unshare", append([]string{"--mount", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", name}, args...)...)
	})
	return &harness.Caddy{Daemon: d, URL: fmt.Sprintf("http://localhost:%d", port)}
}

// cacheCaddyfile returns the Caddyfile of a Caddy with a store and gateways.
func cacheCaddyfile(port int, storage, store string, gateways ...string) string {
	return fmt.Sprintf(`
{
	admin off
	persist_config off
	storage file_system %s
	default_bind 127.0.0.1
}
http://localhost:%d {
	ipfs_registry %s {
		store %s {
			max_size 64MiB
		}
	}
}
`, storage, port, strings.Join(gateways, " "), store)
}

// A Caddy that has no file descriptors left may refuse requests, but sends no wrong
// byte. When the clients that were too many have left, it serves everything again.
func TestCacheRecoversFromTooManyOpenFiles(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "prlimit", "bin/caddy")
	const images, clients = 3, 100
	node := harness.NewKubo(t)
	gateway := newMeter(t, node.Gateway, 20e6)
	var paths []string
	for i := range images {
		paths = append(paths, cachedImage(t, node, fmt.Sprintf("app%d:v1", i), harness.Noise(3 << 20)[i<<20:]))
	}
	port, store := harness.FreePort(t), filepath.Join(t.TempDir(), "store")
	d := harness.StartCaddy(t, "caddy", cacheCaddyfile(port, t.TempDir(), store, gateway.URL), func(name string, args ...string) *exec.Cmd {
		return exec.Command("prlimit", append([]string{"--nofile=48:48", name}, args...)...)
	})
	c := &harness.Caddy{Daemon: d, URL: fmt.Sprintf("http://localhost:%d", port)}
	var all sync.WaitGroup
	var whole, refused atomic.Int64
	for i := range clients {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: harness.Patience}
			defer client.CloseIdleConnections()
			by := func(url string) (harness.Response, error) { return harness.FetchBy(client, url) }
			if pullBy(t, by, harness.Repository(c.Host()+"/"+paths[i%images])) {
				whole.Add(1)
			} else {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	for _, path := range paths {
		c.MustHave(t, path, 3)
	}
	c.StopGently()
	harness.InStore(t, store, "verify", "--all")
	if left := filesIn(t, store, "cache/tmp/*"); len(left) > 0 {
		t.Errorf("the cache left %q in tmp", left)
	}
	if !strings.Contains(d.Log.String(), "too many open files") {
		t.Error("Caddy never ran out of file descriptors, so this test shows nothing")
	}
	t.Logf("%d clients and 48 file descriptors: %d pulls complete, %d refused, 0 wrong", clients, whole.Load(), refused.Load())
}

// When the clock jumps, no byte is lost, and files with times in the past or future are
// evicted like all others.
func TestCacheSurvivesClockJumps(t *testing.T) {
	harness.Parallel(t)
	const images = 6
	node := harness.NewKubo(t)
	paths := cachedImages(t, node, images, 2<<20)
	store := filepath.Join(t.TempDir(), "store")
	jumps := 0
	for _, jump := range []time.Duration{10 * 365 * 24 * time.Hour, -56 * 365 * 24 * time.Hour, time.Hour, -time.Hour} {
		c := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry %s {\nstore %s {\nmax_size 7MiB\n}\n}", node.Gateway, store))
		for _, path := range paths {
			c.MustHave(t, path, 2)
		}
		c.Await(t, "a cache within its limit, without files from the future", func() bool { return isWithin(t, store, 7<<20) })
		c.Stop()
		harness.InStore(t, store, "verify", "--all")
		jumps += jumpBy(t, store, jump)
	}
	t.Logf("%d files had wrong times, %d images checked, 0 lost", jumps, images)
}

// isWithin reports whether the cached files are not larger than limit, and whether none
// of them has a time in the future.
func isWithin(t *testing.T, store string, limit int64) bool {
	t.Helper()
	var size int64
	for _, info := range cachedFiles(t, store) {
		if size += info.Size(); info.ModTime().After(time.Now().Add(time.Minute)) {
			return false
		}
	}
	return size > 0 && size <= limit
}

// jumpBy dates the cached files as a clock would that jumped, and returns their number.
func jumpBy(t *testing.T, store string, jump time.Duration) (files int) {
	t.Helper()
	at := time.Now().Add(jump)
	for path := range cachedFiles(t, store) {
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		files++
	}
	return files
}

// cachedFiles returns the files in the cache's places, by path.
func cachedFiles(t *testing.T, store string) map[string]os.FileInfo {
	t.Helper()
	files := map[string]os.FileInfo{}
	for _, pattern := range []string{"blobs/*/*", "files/*", "nodes/*/*"} {
		for _, path := range filesIn(t, store, "cache/"+pattern) {
			if info, err := os.Stat(path); err == nil { // otherwise it was evicted meanwhile
				files[path] = info
			}
		}
	}
	return files
}

// filesIn returns the files below a directory that match a pattern.
func filesIn(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
