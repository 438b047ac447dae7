package names

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A registry that clients push to has an IPNS name from its first start, and logs it. It serves
// the content of its root by that name at once, even if its configuration allows no names. A
// second Caddy on the same store has the same name.
func TestOwnRootHasAName(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	store := t.TempDir()
	site := fmt.Sprintf("ipfs_registry {\nstore %s\npush {\nanonymous\nttl 5s\n}\n}", store)
	caddies := []*harness.Operated{harness.NewOperated(t, site), harness.NewOperated(t, site)}
	name := strings.TrimSpace(harness.InStore(t, store, "key"))
	for _, o := range caddies {
		o.AwaitLine(t, name)
	}
	sequence, digest := uint64(0), ""
	for _, content := range []string{"of one", "of two"} {
		harness.Convert(t, harness.ArchiveOfLayers(t, "team/app:latest", content), "--store="+store, "--onto=root")
		before := digest
		for _, o := range caddies {
			_, digest = harness.FetchManifest(t, o.HostOfName(name)+"/team/app")
			if _, plain := harness.FetchManifest(t, o.Host()+"/team/app"); digest != plain || digest == before {
				t.Errorf("by the root's IPNS name, the tag is %s, and by its plain name %s; before, it was %s", digest, plain, before)
			}
		}
		var states []struct {
			IPNS struct {
				Name     string
				Sequence uint64
			}
		}
		caddies[0].Answer(t, http.MethodGet, "/ipfs_registry/root", &states)
		if got := states[0].IPNS; got.Name != name || got.Sequence <= sequence {
			t.Errorf("the admin endpoint tells %+v, after record %d", got, sequence)
		}
		sequence = states[0].IPNS.Sequence
	}
	for _, o := range caddies {
		if strings.Contains(o.Log.String(), `"level":"error"`) {
			t.Errorf("the log has errors:\n%s", o.Log)
		}
	}
}

// When Caddy only validates a configuration, perhaps as root, it does not change the store.
func TestValidationLeavesTheStoreAlone(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/caddy")
	store, file := t.TempDir(), filepath.Join(t.TempDir(), "Caddyfile")
	harness.WriteFile(t, file, fmt.Sprintf(":5000 {\nipfs_registry {\nstore %s\npush {\nttl 5s\n}\nkeep 1h\n}\n}", store))
	harness.Run(t, exec.Command(harness.InRepo("bin/caddy"), "validate", "--adapter=caddyfile", "--config="+file))
	if entries, err := os.ReadDir(store); err != nil || len(entries) > 0 {
		t.Errorf("the store has %v, %v", entries, err)
	}
}
