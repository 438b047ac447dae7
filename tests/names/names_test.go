package names

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
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Every client pulls by an IPNS key that a real node published, and by a domain that
// leads to the key, although one of two gateways sends false records.
func TestEveryClientPullsByName(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	liar := newRecordKeeper(t, kubo.Gateway)
	liar.change(func(record []byte) []byte {
		record[len(record)/2] ^= 1
		return record
	})
	key := kubo.NewKey(t, "images", "ed25519")
	subdomains := strings.Replace(kubo.Gateway, "127.0.0.1", "localhost", 1) // where Kubo redirects to subdomains
	server := harness.NewDNSServer(t, "images.example.com", "/ipns/"+key+"/team")
	caddy := harness.NewCaddy(t, fmt.Sprintf(`ipfs_registry %s %s {
		names {
			ipns
			dnslink images.example.com
			resolver %s
		}
	}`, liar.URL, subdomains, server))
	ref := harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API, "--registry="+caddy.URL)
	kubo.Publish(t, "images", "/ipfs/"+harness.CIDv1(t, harness.RootOf(t, ref)))
	for _, client := range harness.Clients {
		t.Run(client.Name, func(t *testing.T) {
			harness.Parallel(t)
			img.MustBe(t, client.Pull(t, caddy.HostOfName(key)+"/"+harness.ImageName))
			img.MustBe(t, client.Pull(t, caddy.HostOfName("images.example.com")+"/app"))
		})
	}
}

// A tag moves when its name is published again, even if one of two gateways replays the
// old record. A client that began to pull before gets the rest of the old image. After a
// restart, Caddy still rejects the old record.
func TestTagMovesWhenNameIsPublishedAgain(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo")
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	replayer := newRecordKeeper(t, kubo.Gateway)
	var once sync.Once
	var first []byte
	replayer.change(func(record []byte) []byte {
		once.Do(func() { first = record })
		return first
	})
	key := kubo.NewKey(t, "moving", "rsa")
	store := t.TempDir()
	directive := "ipfs_registry %s {\nstore " + store + "\nnames {\nipns\n}\n}"
	caddy := harness.NewCaddy(t, fmt.Sprintf(directive, replayer.URL+" "+kubo.Gateway))
	ref := harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API, "--registry="+caddy.URL)
	kubo.Publish(t, "moving", "/ipfs/"+harness.CIDv1(t, harness.RootOf(t, ref)))
	named := caddy.HostOfName(key) + "/" + harness.ImageName
	img.MustBe(t, harness.PullBySkopeo(t, named))
	old, digest := harness.FetchManifest(t, named)

	const moved = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	dir := t.TempDir()
	harness.WriteFile(t, filepath.Join(dir, harness.ImageName, "manifests/latest"), moved)
	kubo.Publish(t, "moving", "/ipfs/"+harness.IPFS(t, kubo.Repo, "add", "--recursive", "--quieter", "--cid-version=1", dir))
	caddy.Await(t, "the image of the new record", func() bool {
		return harness.Get(t, harness.Repository(named)+"/manifests/latest").Text == moved
	})
	for _, path := range []string{"/blobs/" + old.Layers[0].Digest, "/manifests/" + digest} {
		if resp := harness.Get(t, harness.Repository(named)+path); harness.DigestOf([]byte(resp.Text)) != filepath.Base(path) {
			t.Errorf("%s of the old image is answered with %d", path, resp.StatusCode)
		}
	}

	restarted := harness.NewCaddy(t, fmt.Sprintf(directive, replayer.URL))
	resp := harness.Get(t, harness.Repository(restarted.HostOfName(key)+"/"+harness.ImageName)+"/manifests/latest")
	if resp.Text != moved {
		t.Errorf("a restarted Caddy whose gateway replays the old record answers %d: %.100q", resp.StatusCode, resp.Text)
	}
	if cache := resp.Header.Get("Cache-Control"); !strings.HasPrefix(cache, "public, max-age=") || strings.Contains(cache, "immutable") {
		t.Errorf("Cache-Control: %s", cache)
	}
}

// A name without a valid record is answered with an error that says so, never with
// another image.
func TestNameWithoutImageIsAnError(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo")
	kubo := harness.NewKubo(t)
	liar := newRecordKeeper(t, kubo.Gateway)
	other := kubo.NewKey(t, "other", "ed25519")
	kubo.Publish(t, "other", "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
	another := []byte(harness.Get(t, kubo.Gateway+"/ipns/"+other+"?format=ipns-record").Text)
	caddy := harness.NewCaddy(t, "ipfs_registry "+liar.URL+" {\nnames {\nipns\n}\n}")
	manifestOf := func(key string) string {
		return harness.Repository(caddy.HostOfName(key)+"/app") + "/manifests/latest"
	}
	key := kubo.NewKey(t, "victim", "ed25519")
	kubo.Publish(t, "victim", "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
	manifest := manifestOf(key)

	for name, lie := range map[string][]byte{
		"of another key": another,
		"of zeros":       make([]byte, 100),
		"of a megabyte":  make([]byte, 1<<20),
	} {
		liar.change(func([]byte) []byte { return lie })
		if resp := harness.Get(t, manifest); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("a record %s is answered with %d: %s", name, resp.StatusCode, resp.Text)
		}
	}
	liar.change(func(record []byte) []byte { return record })
	if resp := harness.Get(t, manifest); resp.StatusCode != http.StatusNotFound || !strings.Contains(resp.Text, "MANIFEST_UNKNOWN") {
		t.Errorf("a record of an empty directory is answered with %d: %s", resp.StatusCode, resp.Text)
	}
	brief := kubo.NewKey(t, "brief", "ed25519")
	kubo.Publish(t, "brief", "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354", "--lifetime=2s")
	caddy.Await(t, "an error that says that the record expired", func() bool {
		resp := harness.Get(t, manifestOf(brief))
		return resp.StatusCode == http.StatusNotFound && strings.Contains(resp.Text, "the record of "+brief+" expired on")
	})
	_, stderr, err := harness.Try(exec.Command("skopeo", "inspect", "--no-creds", "--tls-verify=false", "docker://"+caddy.HostOfName("images.example.com")+"/app"))
	if err == nil || !strings.Contains(stderr, "`names { dnslink images.example.com }`") {
		t.Errorf("for a domain that is not allowed, skopeo prints: %s", stderr)
	}
}

// A recordKeeper is a gateway that passes on the answers of another, and changes IPNS
// records.
type recordKeeper struct {
	*httptest.Server
	mu   sync.Mutex
	made func(record []byte) []byte
}

func newRecordKeeper(t *testing.T, gateway string) *recordKeeper {
	t.Helper()
	honest, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	k := new(recordKeeper)
	proxy := httputil.NewSingleHostReverseProxy(honest)
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/ipns/") {
			proxy.ServeHTTP(w, r)
			return
		}
		resp, err := harness.Fetch(gateway + r.URL.RequestURI())
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		body := []byte(resp.Text)
		if resp.StatusCode == http.StatusOK {
			k.mu.Lock()
			body = k.made(body)
			k.mu.Unlock()
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		w.Write(body)
	}))
	t.Cleanup(k.Close)
	return k
}

// change sets the function that changes records.
func (k *recordKeeper) change(made func(record []byte) []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made = made
}
