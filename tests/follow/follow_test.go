// Package follow tests a registry that follows another one by the IPNS name of its root, with
// no IPFS node anywhere.
package follow

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// ttl is the TTL of the records in these tests.
const ttl = 4 * time.Second

// A first is a registry that clients push to, and that provides the content of its store.
type first struct {
	*harness.Caddy
	key   string
	store string
}

func newFirst(t *testing.T) *first {
	t.Helper()
	f := &first{store: t.TempDir()}
	f.Caddy = harness.NewCaddy(t, f.directive())
	harness.Need(t, "bin/converter")
	f.key = strings.TrimSpace(harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "key", "--store="+f.store)))
	return f
}

func (f *first) directive() string {
	return fmt.Sprintf("ipfs_registry {\nstore %s\npush {\nanonymous\nttl %s\n}\nprovide\n}", f.store, ttl)
}

// newFollower starts a registry that follows a key through a gateway. The directory is its
// store.
func newFollower(t *testing.T, key, gateway, store string, options ...string) *harness.Caddy {
	t.Helper()
	return harness.NewCaddy(t, fmt.Sprintf("ipfs_registry %s {\nstore %s\nroot %s\ncatalog\n%s\n}", gateway, store, key, strings.Join(options, "\n")))
}

// push gives a tag another layer and returns the digest of its manifest.
func push(t *testing.T, registry *harness.Caddy, repository, tag, content string) string {
	t.Helper()
	dir := t.TempDir()
	harness.WriteFile(t, filepath.Join(dir, "layer", "content"), content)
	harness.Run(t, exec.Command("tar", "-cf", filepath.Join(dir, "layer.tar"), "-C", filepath.Join(dir, "layer"), "content"))
	args := []string{"append", "--insecure", "--new_layer=" + filepath.Join(dir, "layer.tar"), "--new_tag=" + registry.Host() + "/" + repository + ":" + tag}
	if harness.IsServed(manifest(registry, repository, tag)) {
		args = append(args, "--base="+registry.Host()+"/"+repository+":"+tag)
	}
	harness.Run(t, exec.Command(harness.InRepo("bin/crane"), args...))
	return harness.Get(t, manifest(registry, repository, tag)).Header.Get("Docker-Content-Digest")
}

func manifest(registry *harness.Caddy, repository, tag string) string {
	return registry.URL + "/v2/" + repository + "/manifests/" + tag
}

// A meter passes requests on to a registry, and counts them.
type meter struct {
	*httptest.Server

	mu     sync.Mutex
	asked  []string
	bytes  int
	change func(r *http.Request, body []byte) []byte // nil for none
}

func newMeter(t *testing.T, to string) *meter {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	m := new(meter)
	proxy := httputil.NewSingleHostReverseProxy(u)
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.asked = append(m.asked, r.URL.RequestURI())
		change := m.change
		m.mu.Unlock()
		proxy.ServeHTTP(&meteredWriter{w, m, r, change}, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// take returns the requests since it was last called, and the bytes of their answers.
func (m *meter) take() (asked []string, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked, bytes = m.asked, m.bytes
	m.asked, m.bytes = nil, 0
	return asked, bytes
}

func (m *meter) lie(change func(r *http.Request, body []byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change = change
}

// A meteredWriter counts the bytes of an answer, and changes them.
type meteredWriter struct {
	http.ResponseWriter
	meter  *meter
	r      *http.Request
	change func(r *http.Request, body []byte) []byte
}

func (w *meteredWriter) Write(b []byte) (int, error) {
	w.meter.mu.Lock()
	w.meter.bytes += len(b)
	w.meter.mu.Unlock()
	n := len(b)
	if w.change != nil {
		b = w.change(w.r, append([]byte(nil), b...))
	}
	if _, err := w.ResponseWriter.Write(b); err != nil {
		return 0, err
	}
	return n, nil
}

// An image that is pushed to one registry is pulled from another one that follows it: by its
// name, by the name of the root, and by its address. The follower sees a moved tag within the
// TTL plus a second. After the first registry has ended, the follower still serves what was
// pulled, even after a restart.
func TestFollowerServesWhatIsPushed(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo", "bin/crane")
	img := harness.DockerImage(t)
	f := newFirst(t)
	meter := newMeter(t, f.URL)
	store := t.TempDir()
	second := newFollower(t, f.key, meter.URL, store)

	docker := harness.NewDocker(t)
	docker.Run(t, "load", "--input="+img.Archive)
	docker.Run(t, "tag", harness.ImageName+":v1", f.Host()+"/team/app:1.2")
	docker.Run(t, "push", f.Host()+"/team/app:1.2")
	docker.Run(t, "tag", harness.ImageName+":v1", f.Host()+"/team/app")
	docker.Run(t, "push", f.Host()+"/team/app")
	pushed := harness.Get(t, manifest(f.Caddy, "team/app", "1.2")).Header.Get("Docker-Content-Digest")

	img.MustBe(t, harness.PullByDocker(t, second.Host()+"/team/app:1.2"))
	asked, bytes := meter.take()
	t.Logf("a first pull cost %d requests and %d bytes:\n%s", len(asked), bytes, strings.Join(asked, "\n"))
	img.MustBe(t, harness.PullBySkopeo(t, second.HostOfName(f.key)+"/team/app:1.2"))
	address := strings.TrimSpace(harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "name", "team/app", "--store="+f.store)))
	address = address[strings.Index(address, "ciq"):]
	address, _, _ = strings.Cut(address, "\n")
	address, _, _ = strings.Cut(address, "/")
	img.MustBe(t, harness.PullByCrane(t, second.Host()+"/"+address+"/team/app:1.2"))

	resp := harness.Get(t, manifest(second, "team/app", "1.2"))
	if cache := resp.Header.Get("Cache-Control"); !strings.HasPrefix(cache, "public, max-age=") || strings.Contains(cache, "immutable") {
		t.Errorf("Cache-Control: %s", cache)
	}
	if tags := harness.Get(t, second.URL+"/v2/team/app/tags/list"); !strings.Contains(tags.Text, `["1.2","latest"]`) {
		t.Errorf("tags: %s", tags.Text)
	}
	if latest := harness.Get(t, manifest(second, "team/app", "latest")); latest.Text != resp.Text {
		t.Errorf("latest, which leads to the same manifest: %s", latest.Status)
	}
	if all := harness.Get(t, second.URL+"/v2/_catalog"); !strings.Contains(all.Text, `"team/app"`) {
		t.Errorf("catalog: %s", all.Text)
	}
	if absent := harness.Get(t, manifest(second, "team/app", "none")); absent.StatusCode != 404 {
		t.Errorf("a tag that does not exist: %s", absent.Status)
	}

	moved := push(t, f.Caddy, "team/app", "1.2", harness.Noise(1<<20))
	answered := time.Now()
	meter.take()
	second.Await(t, "the moved tag", func() bool {
		began := time.Now()
		switch got := harness.Get(t, manifest(second, "team/app", "1.2")).Header.Get("Docker-Content-Digest"); {
		case got == moved:
			t.Logf("a moved tag is seen %s after its push was answered; the TTL is %s", time.Since(answered).Round(time.Millisecond), ttl)
			return true
		case got != pushed:
			t.Fatalf("a manifest %q", got)
		case began.Sub(answered) > ttl+time.Second:
			t.Fatalf("%s after the push was answered, the tag leads to the manifest before", began.Sub(answered))
		}
		return false
	})
	harness.PullBySkopeo(t, second.Host()+"/team/app:1.2")
	asked, bytes = meter.take()
	t.Logf("a pull of a moved tag with one new layer of 1 MiB cost %d requests and %d bytes:\n%s", len(asked), bytes, strings.Join(asked, "\n"))

	f.Stop()
	id := harness.PullBySkopeo(t, second.Host()+"/team/app:1.2")
	second.Stop()
	again := newFollower(t, f.key, meter.URL, store)
	if got := harness.PullBySkopeo(t, again.Host()+"/team/app:1.2"); got != id {
		t.Errorf("started again without the first one, the follower serves %s, and %s before", got, id)
	}
	if got := harness.Get(t, manifest(again, "team/app", "1.2")).Header.Get("Docker-Content-Digest"); got != moved {
		t.Errorf("started again without the first one, the follower serves %s, want %s", got, moved)
	}
}

// A follower never serves an earlier state of the root, even if its gateway sends an older
// record, and even after it or the first registry was restarted.
func TestFollowerNeverGoesBack(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/crane")
	f := newFirst(t)
	store := t.TempDir()
	old := push(t, f.Caddy, "app", "latest", "old")
	record := harness.Get(t, f.URL+"/ipns/"+f.key+"?format=ipns-record").Text
	meter := newMeter(t, f.URL)
	second := newFollower(t, f.key, meter.URL, store)
	digestOf := func(registry *harness.Caddy) string {
		return harness.Get(t, manifest(registry, "app", "latest")).Header.Get("Docker-Content-Digest")
	}
	if got := digestOf(second); got != old {
		t.Fatalf("the follower serves %q, want %s", got, old)
	}
	current := push(t, f.Caddy, "app", "latest", "new")
	second.Await(t, "the new state", func() bool { return digestOf(second) == current })

	var replayed sync.WaitGroup
	replayed.Add(1)
	var once sync.Once
	meter.lie(func(r *http.Request, body []byte) []byte {
		if !strings.HasPrefix(r.URL.Path, "/ipns/") || len(body) != len(record) {
			return body
		}
		once.Do(replayed.Done)
		return []byte(record)
	})
	stays := func(registry *harness.Caddy, when string) {
		t.Helper()
		until := time.Now().Add(2 * ttl)
		registry.Await(t, "two TTLs to pass", func() bool {
			if got := digestOf(registry); got != current {
				t.Fatalf("%s, the follower serves %q, want %s", when, got, current)
			}
			return time.Now().After(until)
		})
	}
	stays(second, "with a gateway that sends an old record")
	replayed.Wait()
	second.Stop()
	second = newFollower(t, f.key, meter.URL, store)
	stays(second, "after a restart, with a gateway that sends an old record")
	meter.lie(nil)

	f.Stop()
	restarted := harness.NewCaddy(t, f.directive())
	current = push(t, restarted, "app", "latest", "newest")
	third := newFollower(t, f.key, restarted.URL, store)
	stays(third, "after a restart of the first registry")
}

// The lists of a follower apply to images that it follows, by the name of the root and by the
// address that the name leads to.
func TestListsHoldForAFollower(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/crane")
	f := newFirst(t)
	for _, repository := range []string{"open", "secret", "hidden"} {
		push(t, f.Caddy, repository, "latest", repository)
	}
	name := harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "name", "hidden", "--store="+f.store))
	address := name[strings.Index(name, "ciq"):][:len("ciq")+52]
	list := filepath.Join(t.TempDir(), "deny")
	harness.WriteFile(t, list, fmt.Sprintf("/ipns/%s/secret\n", f.key))
	second := newFollower(t, f.key, f.URL, t.TempDir(), "deny "+list)
	for repository, want := range map[string]int{"open": 200, "secret": 410, "ipns/" + f.key + "/secret": 410, "ipns/" + f.key + "/open": 200, address + "/hidden": 200} {
		if got := harness.Get(t, manifest(second, repository, "latest")); got.StatusCode != want {
			t.Errorf("%s: %s, want %d", repository, got.Status, want)
		}
	}
	if all := harness.Get(t, second.URL+"/v2/_catalog").Text; strings.Contains(all, "secret") || !strings.Contains(all, "open") {
		t.Errorf("the catalog lists %s", all)
	}
}

// If the first registry sends false bytes, the follower passes none of them on to a client.
func TestFalseBytesOfTheFirstReachNoClient(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/crane")
	f := newFirst(t)
	push(t, f.Caddy, "app", "latest", harness.Noise(3<<20))
	honest := harness.Get(t, manifest(f.Caddy, "app", "latest"))
	m, _ := harness.FetchManifest(t, f.Host()+"/app")
	meter := newMeter(t, f.URL)
	for _, below := range []string{"/ipns/", "/ipfs/"} {
		second := newFollower(t, f.key, meter.URL, t.TempDir())
		meter.lie(func(r *http.Request, body []byte) []byte {
			if strings.HasPrefix(r.URL.Path, below) && len(body) > 0 {
				body[len(body)/2] ^= 1
			}
			return body
		})
		if resp, err := harness.Fetch(manifest(second, "app", "latest")); err == nil && resp.StatusCode == 200 {
			t.Errorf("with false bytes below %s, a manifest is answered: %.100q", below, resp.Text)
		}
		meter.lie(nil)
		second.Await(t, "the manifest of an honest gateway", func() bool {
			return harness.Get(t, manifest(second, "app", "latest")).Text == honest.Text
		})
		meter.lie(func(_ *http.Request, body []byte) []byte {
			body[len(body)/2] ^= 1
			return body
		})
		for _, layer := range m.Layers {
			resp, err := harness.Fetch(second.URL + "/v2/app/blobs/" + layer.Digest)
			if err == nil && resp.StatusCode == 200 && harness.DigestOf([]byte(resp.Text)) != layer.Digest {
				t.Errorf("with false bytes below %s, a layer with false bytes is whole", below)
			}
		}
		meter.lie(nil)
		second.MustHave(t, "app", 1)
	}
}

// Kubo accepts the CARs, blocks and records that a registry provides.
func TestKuboAgrees(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/crane", "bin/ipfs", "bin/converter")
	f := newFirst(t)
	push(t, f.Caddy, "app", "latest", harness.Noise(3<<20))
	repo := harness.NewRepo(t)
	dir := t.TempDir()
	save := func(url, name string) string {
		t.Helper()
		resp := harness.Get(t, f.URL+url)
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %s", url, resp.Status)
		}
		file := filepath.Join(dir, name)
		harness.WriteFile(t, file, resp.Text)
		return file
	}
	record := save("/ipns/"+f.key+"?format=ipns-record", "record")
	inspected := harness.IPFS(t, repo, "name", "inspect", "--verify="+f.key, record)
	if !strings.Contains(inspected, "Valid: true") {
		t.Errorf("ipfs name inspect prints\n%s", inspected)
	}
	_, root, found := strings.Cut(inspected, "/ipfs/")
	root, _, _ = strings.Cut(root, "\"")
	root = strings.Fields(root)[0]
	if !found {
		t.Fatal("the record has no root")
	}
	harness.IPFS(t, repo, "dag", "import", save("/ipfs/"+root+"?format=car", "all.car"))
	m, _ := harness.FetchManifest(t, f.Host()+"/app")
	for _, layer := range m.Layers {
		path := root + "/app/blobs/" + layer.Digest
		if content := harness.Run(t, harness.IPFSCommand(repo, "cat", "/ipfs/"+path)); harness.DigestOf([]byte(content)) != layer.Digest {
			t.Errorf("Kubo reads %d bytes of layer %s", len(content), layer.Digest)
		}
		file := harness.IPFS(t, repo, "resolve", "/ipfs/"+path)
		for _, link := range strings.Fields(harness.IPFS(t, repo, "refs", "--recursive", file)) {
			put := harness.IPFS(t, repo, "block", "put", "--cid-codec=raw", save("/ipfs/"+link+"?format=raw", "block"))
			if put != link {
				t.Errorf("the block of %s is that of %s", link, put)
			}
		}
	}
}
