package push

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A told is what clients were told: the content of the manifests that they pushed, and of
// those that they deleted, by URL.
type told struct {
	sync.Mutex
	pushed  map[string]string // manifests
	layers  map[string]string // blobs
	deleted map[string]bool   // manifests
}

// A client pushes images of its own into a repository, and deletes each third, until an answer
// does not come.
type client struct {
	http       *http.Client
	repository string // its URL
	told       *told
}

func (c client) pushAll() {
	for i, ok := 0, true; ok; i++ {
		ok = c.push(i)
	}
}

// push reports whether all answers came, and were those that they should be.
func (c client) push(i int) bool {
	layer := fmt.Sprintf("layer %d of %s", i, c.repository)
	for _, blob := range []string{"{}", layer} {
		if !c.is(http.StatusCreated, "POST", c.repository+"/blobs/uploads/?digest="+harness.DigestOf([]byte(blob)), blob) {
			return false
		}
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		harness.DigestOf([]byte("{}")), harness.DigestOf([]byte(layer)), len(layer))
	url, byDigest := fmt.Sprintf("%s/manifests/v%d", c.repository, i), c.repository+"/manifests/"+harness.DigestOf([]byte(manifest))
	if !c.is(http.StatusCreated, "PUT", url, manifest) {
		return false
	}
	if i%3 == 2 {
		if !c.is(http.StatusAccepted, "DELETE", byDigest, "") {
			return false
		}
		c.told.Lock()
		defer c.told.Unlock()
		c.told.deleted[url], c.told.deleted[byDigest] = true, true
		return true
	}
	c.told.Lock()
	defer c.told.Unlock()
	c.told.pushed[url], c.told.pushed[byDigest] = manifest, manifest
	c.told.layers[c.repository+"/blobs/"+harness.DigestOf([]byte(layer))] = layer
	return true
}

func (c client) is(status int, method, url, body string) bool {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == status
}

// While a Caddy is killed at random moments, clients push to it and to another one on the same
// store, converters add images, and collections remove what nothing needs. What was answered
// is so afterwards, every image is whole, and the root's IPNS record names its current state.
func TestKilledPushes(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	store := t.TempDir()
	archive := harness.ArchiveOfLayers(t, "converted:v1", harness.Noise(1<<20))
	stays := newRegistry(t, store)
	random := rand.New(rand.NewPCG(5, 6))
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	answered, sequence := 0, uint64(0)
	for round := range rounds {
		dies := newRegistry(t, store)
		told := &told{pushed: map[string]string{}, layers: map[string]string{}, deleted: map[string]bool{}}
		var clients, others sync.WaitGroup
		for i := range 6 {
			clients.Go(func() {
				client{&http.Client{}, fmt.Sprintf("%s/v2/round-%d/client-%d", dies.URL, round, i), told}.pushAll()
			})
		}
		ended := make(chan struct{})
		others.Go(func() {
			c := client{&http.Client{}, fmt.Sprintf("%s/v2/round-%d/stays", stays.URL, round), told}
			for i := 0; !isClosed(ended); i++ {
				if !c.push(i) {
					t.Error("the Caddy that stays refused a push")
				}
			}
		})
		others.Go(func() {
			for i := 0; !isClosed(ended); i++ {
				harness.Convert(t, archive, "--store="+store, "--onto=root", fmt.Sprintf("--tag=r%d-%d", round, i))
				harness.InStore(t, store, "gc", "--keep=0s")
			}
		})
		time.AfterFunc(time.Duration(100+random.IntN(500))*time.Millisecond, func() { dies.Cmd.Process.Kill() })
		<-dies.Ended
		clients.Wait()
		close(ended)
		others.Wait()
		answered += told.mustHold(t, dies.URL, stays.URL)
		sequence = mustSignCurrent(t, store, sequence)
	}
	if answered < rounds {
		t.Errorf("only %d pushes were answered", answered)
	}
	t.Logf("%d manifests were answered", answered)
	harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "verify", "--all", "--store="+store))
	harness.InStore(t, store, "gc")
}

// mustSignCurrent has the converter sign a record of the root, and returns its sequence number,
// which must be higher than an earlier one.
func mustSignCurrent(t *testing.T, store string, earlier uint64) uint64 {
	t.Helper()
	var record struct {
		Value    string
		Sequence uint64
	}
	var states []struct{ Address string }
	for command, value := range map[string]any{"publish": &record, "log": &states} {
		if err := json.Unmarshal([]byte(harness.InStore(t, store, command, "--json")), value); err != nil {
			t.Fatal(err)
		}
	}
	if want := "/ipfs/" + harness.CIDv1(t, states[0].Address); record.Value != want || record.Sequence <= earlier {
		t.Errorf("record %d, after %d, names %s; the root is %s", record.Sequence, earlier, record.Value, want)
	}
	return record.Sequence
}

// mustHold asks the Caddy that stays for all that clients were told.
func (told *told) mustHold(t *testing.T, dead, alive string) int {
	t.Helper()
	for url, content := range told.pushed {
		if got := harness.Get(t, strings.Replace(url, dead, alive, 1)); got.Text != content {
			t.Errorf("%s was pushed, and is answered with %d", url, got.StatusCode)
		}
	}
	for url, content := range told.layers {
		if got := harness.Get(t, strings.Replace(url, dead, alive, 1)); got.Text != content {
			t.Errorf("%s was pushed, and is answered with %d", url, got.StatusCode)
		}
	}
	for url := range told.deleted {
		if got := harness.Get(t, strings.Replace(url, dead, alive, 1)); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s was deleted, and is answered with %d", url, got.StatusCode)
		}
	}
	return len(told.pushed)
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
