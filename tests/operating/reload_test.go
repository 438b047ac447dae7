package operating

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A pull goes on through reloads, from the store and from a slow gateway, with and
// without a cache, and the client gets the right bytes. When it ends, nothing of the old
// configurations is left.
func TestPullGoesOnThroughReloads(t *testing.T) {
	harness.Parallel(t)
	for _, cache := range []string{"off", "1GiB"} {
		t.Run("cache "+cache, func(t *testing.T) {
			harness.Parallel(t)
			testReload(t, cache)
		})
	}
}

func testReload(t *testing.T, cache string) {
	harness.Need(t, "skopeo")
	kubo := harness.NewKubo(t)
	slow := harness.NewSlowGateway(t, kubo.Gateway)
	store, deny := t.TempDir(), filepath.Join(t.TempDir(), "list.deny")
	harness.WriteFile(t, deny, "# nothing\n")
	site := fmt.Sprintf("ipfs_registry %s {\nstore %s {\nmax_size %s\n}\ndeny %s\n}\nrespond /", slow.URL, store, cache, deny)
	o := harness.NewOperated(t, site+"0 200")
	const size = 32 << 20 // more than socket buffers hold
	noise := harness.Noise(size + 4<<20)
	content := noise[:size]
	near := harness.Convert(t, harness.ArchiveOfLayers(t, "near:v1", content), "--store="+store, "--registry="+o.URL)
	far := harness.Convert(t, harness.ArchiveOfLayers(t, "far:v1", content[1:]), "--ipfs-api="+kubo.API, "--registry="+o.URL)
	other := harness.Convert(t, harness.ArchiveOfLayers(t, "other:v1", noise[size:]), "--ipfs-api="+kubo.API, "--registry="+o.URL)

	number := 0
	reload := func() {
		t.Helper()
		number++
		o.Load(t, fmt.Sprintf("%s%d 200", site, number))
	}
	for _, ref := range []string{near, far} {
		slow.Hold()
		digest := layer(t, ref)
		resp, err := http.Get(harness.Repository(ref) + "/blobs/" + digest)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", ref, err, resp)
		}
		var got bytes.Buffer
		for range 6 {
			slow.Give(1 << 20)
			if _, err := io.CopyN(&got, resp.Body, 512<<10); err != nil {
				t.Fatal(err)
			}
			reload()
		}
		if ref == far {
			slow.BreakOff()
		}
		slow.Release()
		_, err = io.Copy(&got, resp.Body)
		resp.Body.Close()
		if err != nil || harness.DigestOf(got.Bytes()) != digest {
			t.Errorf("%s: the client got %d of %d bytes, or wrong ones: %v", ref, got.Len(), resp.ContentLength, err)
		}
	}

	slow.Hold()
	dir, pulled := t.TempDir(), make(chan error)
	pull := exec.Command("skopeo", "copy", "--src-tls-verify=false", "docker://"+other, "dir:"+dir)
	var said string
	go func() {
		_, stderr, err := harness.Try(pull)
		said = stderr
		pulled <- err
	}()
	o.Await(t, "a request to the gateway", func() bool { return slow.Waiting() > 0 })
	reload()
	slow.Release()
	if err := <-pulled; err != nil {
		t.Fatalf("skopeo: %v\n%s", err, said)
	}
	digest := layer(t, other)
	if got := harness.DigestOf([]byte(harness.ReadFile(t, filepath.Join(dir, strings.TrimPrefix(digest, "sha256:"))))); got != digest {
		t.Errorf("skopeo pulled the layer %s with the digest %s", digest, got)
	}

	reload()
	o.Await(t, "the end of the old configurations", func() bool {
		goroutines := o.Ask(t, http.MethodGet, "/debug/pprof/goroutine?debug=2").Text
		gateways := o.Ask(t, http.MethodGet, "/ipfs_registry/gateways").Text
		return strings.Count(goroutines, "denylist.(*Lists).Watch(") == 1 && strings.Count(gateways, slow.URL) == 1 && slow.Connections() == 0
	})
}
