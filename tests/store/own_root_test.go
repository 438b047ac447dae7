package store

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A state is a state of a store's own root, as converter log --json prints it.
type state struct {
	Address string
	Kept    bool
	Actions []struct{ What, Name, Reference, Address, User string }
}

func statesOf(t *testing.T, store string) (states []state) {
	t.Helper()
	if err := json.Unmarshal([]byte(harness.InStore(t, store, "log", "--json", "-n=0")), &states); err != nil {
		t.Fatal(err)
	}
	return states
}

// mustHaveWhole pulls every byte of an image by its tag.
func mustHaveWhole(t *testing.T, ref string) {
	t.Helper()
	colon := strings.LastIndexByte(ref, ':')
	repository := harness.Repository(ref[:colon])
	var m harness.Manifest
	if err := json.Unmarshal([]byte(harness.Get(t, repository+"/manifests/"+ref[colon+1:]).Text), &m); err != nil || len(m.Layers) == 0 {
		t.Fatalf("%s has no manifest: %v", ref, err)
	}
	for _, d := range append(m.Layers, m.Config) {
		if resp := harness.Get(t, repository+"/blobs/"+d.Digest); harness.DigestOf([]byte(resp.Text)) != d.Digest {
			t.Errorf("%s: blob %s is answered with %d and %d bytes of another digest", ref, d.Digest, resp.StatusCode, len(resp.Text))
		}
	}
}

// An image that is put onto a store's own root can be pulled by its name at once. A later one
// takes its tag, a rollback gives it back, and after the time for which states are kept, a
// collection removes what nothing leads to any more.
func TestOwnRoot(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo", "bin/crane")
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\nroot\ncatalog\n}", store))
	if got := harness.Get(t, caddy.URL+"/v2/team/app/manifests/v1"); got.StatusCode != http.StatusNotFound {
		t.Errorf("an empty root answers %d: %s", got.StatusCode, got.Text)
	}

	one := harness.ArchiveOfLayers(t, "team/app:v1", harness.Noise(2<<20), "of one")
	two := harness.ArchiveOfLayers(t, "team/app:v1", harness.Noise(2<<20), "of two")
	other := harness.ArchiveOfLayers(t, "other:v1", "of another")
	ref := harness.Convert(t, one, "--store="+store, "--registry="+caddy.URL, "--onto=root")
	mustHaveWhole(t, ref)
	name := caddy.URL + "/v2/team/app/manifests/v1"
	first := harness.Get(t, name).Text
	mustHaveWhole(t, caddy.Host()+"/team/app:v1")
	for _, puller := range []func(*testing.T, string) string{harness.PullBySkopeo, harness.PullByCrane} {
		puller(t, caddy.Host()+"/team/app:v1")
	}

	harness.Convert(t, two, "--store="+store, "--onto=root")
	harness.Convert(t, other, "--store="+store, "--onto=root")
	if second := harness.Get(t, name).Text; second == first || second == "" {
		t.Errorf("the tag did not move: %s", second)
	}
	mustHaveWhole(t, caddy.Host()+"/other:v1")
	mustHaveWhole(t, ref) // the address of the first one

	states := statesOf(t, store)
	if len(states) != 3 || states[2].Actions[0].Name != "team/app" || states[0].Actions[0].Name != "other" || states[0].Actions[0].What != "convert" {
		t.Fatalf("the log has %+v", states)
	}
	if address := states[2].Actions[0].Address; !strings.Contains(ref, address) {
		t.Errorf("the log has the address %s, and the converter printed %s", address, ref)
	}
	if got := harness.InStore(t, store, "name", "localhost:5000/other:v1"); !strings.Contains(got, states[0].Actions[0].Address) {
		t.Errorf("name prints %s", got)
	}
	if got := harness.InStore(t, store, "rollback", "2"); strings.TrimSpace(got) != states[2].Address {
		t.Errorf("rollback prints %s", got)
	}
	if got := harness.Get(t, name).Text; got != first {
		t.Errorf("after the rollback, the tag leads to %s", got)
	}
	if got := strings.TrimSpace(harness.Get(t, caddy.URL+"/v2/_catalog").Text); got != `{"repositories":["team/app"]}` {
		t.Errorf("after the rollback, the catalog has %s", got)
	}
	listed := harness.InStore(t, store, "images")
	if !strings.Contains(listed, states[2].Address+"/team/app") || !strings.Contains(listed, "current") {
		t.Errorf("images prints\n%s", listed)
	}

	if got := harness.InStore(t, store, "gc"); !strings.HasPrefix(got, "removed 0 files") {
		t.Errorf("gc of kept states prints %s", got)
	}
	if got := harness.InStore(t, store, "gc", "--keep=0s"); strings.HasPrefix(got, "removed 0 files") {
		t.Errorf("gc of states that are not kept prints %s", got)
	}
	mustHaveWhole(t, caddy.Host()+"/team/app:v1")
	mustHaveWhole(t, ref)
	harness.InStore(t, store, "verify", "--all")
	harness.MustRefuse(t, harness.Converter(t, os.DevNull, "rollback", "1", "--store="+store), "is not kept any more")
	for i, s := range statesOf(t, store) {
		if s.Kept != (i == 0) {
			t.Errorf("state %d is kept: %v", i, s.Kept)
		}
	}
}

// What fits a store's own root, and what does not.
func TestOwnRootRefuses(t *testing.T) {
	harness.Parallel(t)
	store := t.TempDir()
	archive := harness.ArchiveOfLayers(t, "team/app:v1", "of one")
	for says, args := range map[string][]string{
		"--onto root adds images to the root of a store": {"--car=" + path.Join(t.TempDir(), "a.car"), "--onto=root"},
		"--cid-profile unixfs-v0-2015":                   {"--store=" + store, "--onto=root", "--cid-profile=unixfs-v0-2015"},
		"reserved":                                       {"--store=" + store, "--onto=root", "--name=ipfs/app"},
		"has no root of its own":                         {"log", "--store=" + store},
	} {
		harness.MustRefuse(t, harness.Converter(t, archive, args...), says)
	}
}

// A root of another store's image is copied onto the own root.
func TestCopyOntoOwnRoot(t *testing.T) {
	harness.Parallel(t)
	from, store := t.TempDir(), t.TempDir()
	archive := harness.ArchiveOfLayers(t, "team/app:v1", "of one")
	ref := harness.Convert(t, archive, "--store="+from)
	copied := harness.Copy(t, ref, "--from="+from, "--store="+store, "--onto=root")
	converted := harness.Convert(t, archive, "--store="+t.TempDir(), "--onto=root")
	if path.Dir(path.Dir(copied)) != path.Dir(path.Dir(converted)) {
		t.Errorf("a copy gives %s, and a conversion %s", copied, converted)
	}
}

// The user who owns a store with a root of its own is the only one who writes to it. Root
// becomes that user.
func TestOwnRootHasOneOwner(t *testing.T) {
	harness.Need(t, "root", "bin/converter", "setpriv")
	store := t.TempDir()
	archive := harness.ArchiveOfLayers(t, "team/app:v1", "of one")
	const owner = "65534"
	harness.Run(t, exec.Command("chown", owner+":"+owner, store))
	harness.Run(t, exec.Command("chmod", "755", path.Dir(store)))
	harness.Convert(t, archive, "--store="+store, "--onto=root")
	harness.Convert(t, harness.ArchiveOfLayers(t, "team/app:v2", "of two"), "--store="+store, "--onto=root")
	harness.InStore(t, store, "rollback", "1")
	harness.InStore(t, store, "gc")
	if others := harness.Run(t, exec.Command("find", store, "!", "-user", owner)); others != "" {
		t.Errorf("files of another user: %s", others)
	}
	layout := t.TempDir()
	harness.Run(t, exec.Command("chmod", "700", layout))
	harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), "oci:"+layout, "--store="+store, "--onto=root"), `permission denied: the converter has become user 65534`)
	stranger := exec.Command("setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", harness.InRepo("bin/converter"), "rollback", "1", "--store="+store)
	harness.MustRefuse(t, stranger, `sudo -u '#65534'`)
}
