package store

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// formats are those in which Kubo exports and imports keys.
var formats = []string{"libp2p-protobuf-cleartext", "pem-pkcs8-cleartext"}

func nameOf(t *testing.T, store string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(harness.InStore(t, store, append([]string{"key"}, args...)...))
}

// Kubo imports the key of a root and exports it again, in both formats, and the name stays the
// same.
func TestKeysGoToKuboAndBack(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	repo, dir := harness.NewRepo(t), t.TempDir()
	ours := t.TempDir()
	name := nameOf(t, ours)
	for i, format := range formats {
		file := filepath.Join(dir, fmt.Sprint("ours-", i))
		nameOf(t, ours, "export", file, "--format="+format)
		if got := harness.IPFS(t, repo, "key", "import", "--ipns-base=base36", "--format="+format, filepath.Base(file), file); got != name {
			t.Errorf("as %s, Kubo calls the key %s, and we %s", format, got, name)
		}

		kubos := harness.IPFS(t, repo, "key", "gen", "--type=ed25519", "--ipns-base=base36", fmt.Sprint("kubos-", i))
		file = filepath.Join(dir, fmt.Sprint("kubos-", i))
		harness.IPFS(t, repo, "key", "export", "--format="+format, "--output="+file, fmt.Sprint("kubos-", i))
		harness.Run(t, exec.Command("chmod", "600", file))
		if got := nameOf(t, t.TempDir(), "import", file); got != kubos {
			t.Errorf("as %s, we call the key %s, and Kubo %s", format, got, kubos)
		}
	}
}

// Kubo verifies the record of a root, and resolves the root's name with it.
func TestKuboVerifiesRecords(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	kubo, store := harness.NewKubo(t), t.TempDir()
	name := nameOf(t, store)
	harness.Convert(t, harness.ArchiveOfLayers(t, "team/app:v1", "of one"), "--store="+store, "--onto=root")
	state := "/ipfs/" + harness.CIDv1(t, statesOf(t, store)[0].Address)
	record := filepath.Join(store, "root", "record")
	inspect := func() (sequence uint64) {
		t.Helper()
		var got struct {
			Entry struct {
				Value    string
				Sequence uint64
				TTL      uint64
			}
			Validation struct {
				Valid bool
				Name  string
			}
		}
		text := harness.IPFS(t, kubo.Repo, "name", "inspect", "--enc=json", "--dump=false", "--verify="+name, record)
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !got.Validation.Valid || got.Entry.Value != state || got.Entry.TTL != 60e9 {
			t.Errorf("Kubo says of the record of %s: %s", state, text)
		}
		return got.Entry.Sequence
	}
	first := inspect()
	harness.InStore(t, store, "publish")
	if second := inspect(); second <= first {
		t.Errorf("the sequence was %d, and is %d", first, second)
	}
	harness.IPFS(t, kubo.Repo, "routing", "put", "--allow-offline", "/ipns/"+name, record)
	if got := harness.IPFS(t, kubo.Repo, "name", "resolve", "--nocache", name); got != state {
		t.Errorf("Kubo resolves the name to %s, and the root is %s", got, state)
	}
}

// After a rotation, the old name shows no further changes, and the converter says what followers
// have to do.
func TestRotatedKey(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	store := t.TempDir()
	name := nameOf(t, store)
	rotate := harness.Converter(t, os.DevNull, "key", "rotate", "--store="+store)
	var said strings.Builder
	rotate.Stderr = &said
	out, err := rotate.Output()
	if err != nil {
		t.Fatal(err)
	}
	if rotated := strings.TrimSpace(string(out)); rotated == name || !strings.Contains(said.String(), name) || !strings.Contains(said.String(), "root "+rotated) {
		t.Errorf("rotate prints %q and says %q", out, said.String())
	}
}
