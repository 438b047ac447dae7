package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// mustFind runs converter verify on an image with some damage. Verify must fail, print
// nothing on standard output, and name the damaged thing.
func mustFind(t *testing.T, what, thing string, args ...string) {
	t.Helper()
	cmd := harness.Converter(t, os.DevNull, append([]string{"verify"}, args...)...)
	stdout, stderr, _ := harness.Try(cmd)
	if code := cmd.ProcessState.ExitCode(); code != 1 || stdout != "" {
		t.Errorf("%s: verify exits with %d and prints %q, want 1 and nothing", what, code, stdout)
	}
	if !strings.Contains(stderr, thing) {
		t.Errorf("%s: verify does not name %s: %q", what, thing, stderr)
	}
}

// A converted image passes verify in every destination and with every profile.
func TestVerifyPassesWhereverAnImageIs(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	store, car := t.TempDir(), filepath.Join(t.TempDir(), "image.car")
	for flag, value := range map[string]string{"--store": store, "--car": car, "--ipfs-api": kubo.API} {
		ref := harness.Convert(t, img.Archive, flag+"="+value)
		harness.MustVerify(t, ref, ref, flag+"="+value)
		other := harness.Convert(t, img.Archive, flag+"="+value, "--cid-profile=unixfs-v0-2015")
		harness.MustVerify(t, other, other, flag+"="+value)
	}
}

// Verify finds a changed byte in any file of a store, and any missing file. verify --all
// renames rotten files, so that they are not served. The other image in the store is not
// affected.
func TestVerifyFindsDamageInStore(t *testing.T) {
	harness.Parallel(t)
	store := t.TempDir()
	other := harness.Convert(t, harness.ArchiveOfLayers(t, "other:v1", harness.Noise(10)), "--store="+store)
	before := harness.ReadTree(t, store)
	ref := harness.Convert(t, harness.ArchiveOfLayers(t, "app:v1", harness.Noise(3<<20), harness.Noise(1000)[10:]), "--store="+store)
	harness.MustVerify(t, ref, ref, "--store="+store)
	files := harness.ReadTree(t, store)
	maps.DeleteFunc(files, func(name, _ string) bool {
		_, shared := before[name]
		return shared || strings.HasSuffix(name, "/")
	})
	random := rand.New(rand.NewPCG(1, 2))
	kinds := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		kinds[strings.SplitN(name, "/", 2)[0]] = true
		file := filepath.Join(store, name)
		thing := strings.TrimSuffix(path.Base(name), ".json")
		for range 5 {
			at := random.IntN(len(content))
			if strings.HasPrefix(name, "images/") { // nothing checks the times in a record
				at = strings.Index(content, "sha256:") + 10
			}
			harness.WriteFile(t, file, content[:at]+string([]byte{content[at] ^ 1})+content[at+1:])
			mustFind(t, fmt.Sprintf("byte %d of %s has changed", at, name), thing, ref, "--store="+store)
		}
		harness.MustVerify(t, other, other, "--store="+store)
		all := harness.Converter(t, os.DevNull, "verify", "--all", "--store="+store)
		if stdout, stderr, err := harness.Try(all); err == nil || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, thing) {
			t.Errorf("with a damaged %s, verify --all prints %q and %q", name, stdout, stderr)
		}
		if strings.HasPrefix(name, "images/") { // an image without a record is no fault: rm removes records
			harness.WriteFile(t, file, content)
			continue
		}
		aside := file // a leaf table in files/ is not served, so verify does not rename it
		if !strings.HasPrefix(name, "files/") {
			aside += ".rotten"
		}
		if err := os.Remove(aside); err != nil {
			t.Fatal(err)
		}
		mustFind(t, name+" is missing", thing, ref, "--store="+store)
		harness.WriteFile(t, file, content)
	}
	if len(kinds) != 4 {
		t.Errorf("the store has files in %v, want four directories", kinds)
	}
	harness.MustVerify(t, ref, ref, "--store="+store)
}

// Verify finds damage at any byte of a CAR.
func TestVerifyFindsDamageInCAR(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/ipfs")
	dir := t.TempDir()
	archive := harness.ArchiveOfLayers(t, "app:v1", harness.Noise(20_000), "short")
	random := rand.New(rand.NewPCG(1, 2))
	for _, profile := range []string{"unixfs-v1-2025", "unixfs-v0-2015"} {
		car := filepath.Join(dir, profile+".car")
		ref := harness.Convert(t, archive, "--car="+car, "--cid-profile="+profile)
		harness.MustVerify(t, ref, "--car="+car)
		content := harness.ReadFile(t, car)
		damaged := filepath.Join(dir, "damaged.car")
		offsets := []int{len(content) - 1}
		for at := range 130 { // the headers of the CAR and of its first block
			offsets = append(offsets, at)
		}
		for range 30 {
			offsets = append(offsets, random.IntN(len(content)))
		}
		for i, at := range offsets {
			bit := byte(1) << random.IntN(8)
			harness.WriteFile(t, damaged, content[:at]+string([]byte{content[at] ^ bit})+content[at+1:])
			args := []string{"--car=" + damaged}
			if i%2 == 0 {
				args = append(args, ref)
			}
			mustFind(t, fmt.Sprintf("%s: bit %#x of byte %d of %d is flipped", profile, bit, at, len(content)), damaged, args...)
		}
		for range 10 {
			at := random.IntN(len(content))
			harness.WriteFile(t, damaged, content[:at])
			mustFind(t, fmt.Sprintf("%s ends at byte %d", profile, at), damaged, ref, "--car="+damaged)
		}
	}
}

// Verify names a leaf that a node lacks.
func TestVerifyNamesLeafMissingOnNode(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	ref := harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API)
	cid := harness.CIDv1(t, harness.RootOf(t, ref))
	leaves := strings.Fields(harness.IPFS(t, kubo.Repo, "refs", "--recursive", "--unique", cid))
	harness.IPFS(t, kubo.Repo, "pin", "rm", cid)
	for _, leaf := range slices.Backward(leaves) {
		if !strings.HasPrefix(leaf, "bafkrei") {
			continue
		}
		harness.IPFS(t, kubo.Repo, "block", "rm", leaf)
		mustFind(t, leaf+" is missing", leaf, ref, "--ipfs-api="+kubo.API)
		return
	}
	t.Errorf("the image has no leaf among its blocks %v", leaves)
}

// Verify and inspect work on a read-only store.
func TestVerifyAndInspectOnlyRead(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "root", "unshare", "bin/converter")
	store := t.TempDir()
	ref := harness.Convert(t, harness.ArchiveOfLayers(t, "app:v1", "content"), "--store="+store)
	for _, args := range [][]string{{"verify", ref}, {"verify", "--all"}, {"inspect", ref}} {
		const mount = `mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"`
		args = append([]string{"--mount", "sh", "-ec", mount, "sh", store, harness.InRepo("bin/converter")}, args...)
		harness.Run(t, exec.Command("unshare", append(args, "--store="+store)...))
	}
}

// An image that image2ipfs 0.1.0 published can be pulled after converter repair, which
// reads it from a node or a CAR file and writes to any destination.
func TestRepairedImage2ipfsImageIsPulled(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	dir := harness.WriteImage2ipfs(t, img)
	cid := harness.IPFS(t, kubo.Repo, "add", "--recursive", "--quieter", dir)
	old := "localhost:5000/" + harness.AddressOf(t, kubo.Repo, cid) + "/" + harness.ImageName
	mustFind(t, "an image of image2ipfs", "converter repair "+strings.TrimPrefix(old, "localhost:5000/"), old, "--ipfs-api="+kubo.API)

	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	repair := func(args ...string) string {
		return harness.RunForLine(t, harness.Converter(t, os.DevNull, append([]string{"repair", "--registry=" + caddy.URL}, args...)...))
	}
	ref := repair(old, "--from="+kubo.API, "--store="+store)
	harness.MustVerify(t, ref, ref, "--store="+store)
	for _, client := range harness.Clients {
		if client.Name == "ctr" || client.Name == "oras" { // these need a tag, and image2ipfs gave the image none
			continue
		}
		t.Run(client.Name, func(t *testing.T) { img.MustBe(t, client.Pull(t, ref)) })
	}

	exported, repaired := filepath.Join(t.TempDir(), "old.car"), filepath.Join(t.TempDir(), "new.car")
	export := exec.Command(harness.InRepo("bin/ipfs"), "dag", "export", "--progress=false", cid)
	export.Env = append(os.Environ(), "IPFS_PATH="+kubo.Repo)
	harness.WriteFile(t, exported, harness.Run(t, export))
	if got := repair("--from="+exported, "--car="+repaired); got != ref {
		t.Errorf("repaired from a CAR file the image is %s, and from the node %s", got, ref)
	}
	harness.MustVerify(t, ref, "--car="+repaired)
	if got := repair(old, "--from="+kubo.API, "--ipfs-api="+kubo.API); got != ref {
		t.Errorf("repaired onto the node the image is %s, and into the store %s", got, ref)
	}
	harness.MustVerify(t, ref, ref, "--ipfs-api="+kubo.API)
	harness.MustRefuse(t, harness.Converter(t, os.DevNull, "repair", ref, "--from="+store, "--car="+repaired), "there is nothing to repair")
}

// Inspect shows what an image consists of, as the registry serves it, and how much of it
// other images of a store share. An image with two names shares everything.
func TestInspectShowsWhatIsServed(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	store, car := t.TempDir(), filepath.Join(t.TempDir(), "image.car")
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref := harness.Convert(t, img.Archive, "--store="+store, "--registry="+caddy.URL)
	harness.Convert(t, img.Archive, "--car="+car)
	m, digest := harness.FetchManifest(t, ref)

	i := inspect(t, ref, "--store="+store)
	if i.Root != harness.RootOf(t, ref) || !slices.Contains(i.CIDs, harness.CIDv1(t, i.Root)) {
		t.Errorf("inspect shows the root %s, %v", i.Root, i.CIDs)
	}
	app := i.Images[0]
	if len(i.Images) != 1 || app.Name != harness.ImageName || !slices.Equal(app.Tags, []string{"v1"}) || app.Digest != digest || app.MediaType != m.MediaType {
		t.Errorf("inspect shows the images %+v", i.Images)
	}
	if app.Shared.Leaves != 0 || app.Leaves < 4 {
		t.Errorf("the only image has %d leaves and shares %d of them with other images", app.Leaves, app.Shared.Leaves)
	}
	of := app.Manifests[0]
	if of.Platform.OS != "linux" || of.Digest != digest || !slices.EqualFunc(append(of.Layers, of.Config), append(m.Layers, m.Config), sameBlob) {
		t.Errorf("inspect shows the manifest %+v, and the registry serves %+v", of, m)
	}

	if i := inspect(t, "--car="+car); i.Root != harness.RootOf(t, ref) || i.Images[0].Shared != nil {
		t.Errorf("of the CAR file, inspect shows %+v", i)
	}
	if i := inspect(t, "--car="+car, "--store="+store); i.Images[0].Shared.Leaves != app.Leaves || i.Images[0].Shared.Size != app.Size {
		t.Errorf("the CAR file and the store share %+v, want everything", i.Images[0].Shared)
	}
	harness.Convert(t, img.Archive, "--store="+store, "--name=other")
	if i := inspect(t, ref, "--store="+store); i.Images[0].Shared.Leaves != app.Leaves {
		t.Errorf("the two names of the image share %+v of %d leaves", i.Images[0].Shared, app.Leaves)
	}
	if human := harness.Run(t, harness.Converter(t, os.DevNull, "inspect", ref, "--store="+store)); !strings.Contains(human, digest) || strings.Count(human, "layer ") != len(m.Layers) {
		t.Errorf("without --json, inspect prints\n%s", human)
	}
}

type inspection struct {
	Root   string
	CIDs   []string
	Images []struct {
		Name, MediaType, Digest string
		Tags                    []string
		Size, Leaves            int
		Shared                  *struct{ Size, Leaves int }
		Manifests               []struct {
			Platform struct{ OS string }
			Digest   string
			Config   inspectedBlob
			Layers   []inspectedBlob
		}
	}
}

type inspectedBlob struct {
	MediaType, Digest, CID string
	Size, Leaves           int
}

func sameBlob(b inspectedBlob, d harness.Descriptor) bool {
	return b.MediaType == d.MediaType && b.Digest == d.Digest && b.Size == d.Size && b.CID != "" && b.Leaves > 0
}

func inspect(t *testing.T, args ...string) (i inspection) {
	t.Helper()
	out := harness.Run(t, harness.Converter(t, os.DevNull, append([]string{"inspect", "--json"}, args...)...))
	if err := json.Unmarshal([]byte(out), &i); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return i
}
