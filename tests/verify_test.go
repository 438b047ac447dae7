package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// verify runs converter verify, which must print one line for the image.
func mustVerify(t *testing.T, ref string, args ...string) {
	t.Helper()
	_, address, _ := strings.Cut(ref, "/")
	line := runForLine(t, converter(t, os.DevNull, append([]string{"verify"}, args...)...))
	if !regexp.MustCompile(`^localhost:5000/` + address + `  \d+ blocks, \d+ bytes$`).MatchString(line) {
		t.Errorf("verify %v of %s prints %q", args, ref, line)
	}
}

// mustFind has converter verify find something wrong, say what, and nothing else
// on standard output.
func mustFind(t *testing.T, what, thing string, args ...string) {
	t.Helper()
	cmd := converter(t, os.DevNull, append([]string{"verify"}, args...)...)
	stdout, stderr, _ := try(cmd)
	if code := cmd.ProcessState.ExitCode(); code != 1 || stdout != "" {
		t.Errorf("%s: verify exits with %d and prints %q", what, code, stdout)
	}
	if !strings.Contains(stderr, thing) {
		t.Errorf("%s: verify says %q, and nothing of %s", what, stderr, thing)
	}
}

// Wherever an image was put, it is right.
func TestVerify(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	store, car := t.TempDir(), filepath.Join(t.TempDir(), "image.car")
	for flag, value := range map[string]string{"--store": store, "--car": car, "--ipfs-api": kubo.api} {
		ref := convert(t, img.archive, flag+"="+value)
		mustVerify(t, ref, ref, flag+"="+value)
		other := convert(t, img.archive, flag+"="+value, "--cid-profile=unixfs-v0-2015")
		mustVerify(t, other, other, flag+"="+value)
	}
}

// Of each file of a store, a changed byte is found, and so is that it is gone.
// What is served and has rotted is put aside when all is verified. The other image
// in the store stays right.
func TestVerifyDamagedStore(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	other := convert(t, archiveOfLayers(t, "other:v1", noise(10)), "--store="+store)
	before := tree(t, store)
	ref := convert(t, archiveOfLayers(t, "app:v1", noise(3<<20), noise(1000)[10:]), "--store="+store)
	mustVerify(t, ref, ref, "--store="+store)
	files := tree(t, store)
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
			if strings.HasPrefix(name, "images/") { // of which time is nobody's to check
				at = strings.Index(content, "sha256:") + 10
			}
			writeFile(t, file, content[:at]+string([]byte{content[at] ^ 1})+content[at+1:])
			mustFind(t, fmt.Sprintf("byte %d of %s is another", at, name), thing, ref, "--store="+store)
		}
		mustVerify(t, other, other, "--store="+store)
		all := converter(t, os.DevNull, "verify", "--all", "--store="+store)
		if stdout, stderr, err := try(all); err == nil || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, thing) {
			t.Errorf("%s is damaged, and of all images verify says %q and %q", name, stdout, stderr)
		}
		if strings.HasPrefix(name, "images/") { // without which an image is as converter rm leaves it
			writeFile(t, file, content)
			continue
		}
		aside := file // files/ is held against nodes, and not served
		if !strings.HasPrefix(name, "files/") {
			aside += ".rotten"
		}
		if err := os.Remove(aside); err != nil {
			t.Fatal(err)
		}
		mustFind(t, name+" is gone", thing, ref, "--store="+store)
		writeFile(t, file, content)
	}
	if len(kinds) != 4 {
		t.Errorf("there were files in %v", kinds)
	}
	mustVerify(t, ref, ref, "--store="+store)
}

// Wherever a CAR is damaged, that is found.
func TestVerifyDamagedCAR(t *testing.T) {
	t.Parallel()
	needs(t, "bin/ipfs")
	dir := t.TempDir()
	archive := archiveOfLayers(t, "app:v1", noise(20_000), "short")
	random := rand.New(rand.NewPCG(1, 2))
	for _, profile := range []string{"unixfs-v1-2025", "unixfs-v0-2015"} {
		car := filepath.Join(dir, profile+".car")
		ref := convert(t, archive, "--car="+car, "--cid-profile="+profile)
		mustVerify(t, ref, "--car="+car)
		content := readFile(t, car)
		damaged := filepath.Join(dir, "damaged.car")
		offsets := []int{len(content) - 1}
		for at := range 130 { // its header, and the first block's
			offsets = append(offsets, at)
		}
		for range 100 {
			offsets = append(offsets, random.IntN(len(content)))
		}
		for _, at := range offsets {
			bit := byte(1) << random.IntN(8)
			writeFile(t, damaged, content[:at]+string([]byte{content[at] ^ bit})+content[at+1:])
			for _, args := range [][]string{{}, {ref}} {
				mustFind(t, fmt.Sprintf("%s: byte %d of %d is another by %#x", profile, at, len(content), bit), damaged, append(args, "--car="+damaged)...)
			}
		}
		for range 20 {
			at := random.IntN(len(content))
			writeFile(t, damaged, content[:at])
			mustFind(t, fmt.Sprintf("%s ends at byte %d", profile, at), damaged, ref, "--car="+damaged)
		}
	}
}

// What a node lacks is named, and where in the blob that is.
func TestVerifyNodeThatLacksALeaf(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	ref := convert(t, img.archive, "--ipfs-api="+kubo.api)
	cid := cidV1(t, root(t, ref))
	leaves := strings.Fields(ipfs(t, kubo.repo, "refs", "--recursive", "--unique", cid))
	ipfs(t, kubo.repo, "pin", "rm", cid)
	for _, leaf := range slices.Backward(leaves) {
		if !strings.HasPrefix(leaf, "bafkrei") {
			continue
		}
		ipfs(t, kubo.repo, "block", "rm", leaf)
		mustFind(t, leaf+" is gone", leaf, ref, "--ipfs-api="+kubo.api)
		return
	}
	t.Errorf("no leaf among %v", leaves)
}

// Looking takes no right to write, and leaves no trace.
func TestVerifyReadOnly(t *testing.T) {
	t.Parallel()
	needs(t, "root", "unshare", "bin/converter")
	store := t.TempDir()
	ref := convert(t, archiveOfLayers(t, "app:v1", "content"), "--store="+store)
	for _, args := range [][]string{{"verify", ref}, {"verify", "--all"}, {"inspect", ref}} {
		const mount = `mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"`
		args = append([]string{"--mount", "sh", "-ec", mount, "sh", store, inRepo("bin/converter")}, args...)
		run(t, exec.Command("unshare", append(args, "--store="+store)...))
	}
}

// What image2ipfs 0.1.0 put on IPFS can be pulled once it was repaired, from a
// node or from a CAR of it, to wherever.
func TestRepair(t *testing.T) {
	t.Parallel()
	needs(t, "bin/converter")
	img := testImage(t)
	kubo := newKubo(t)
	dir := image2ipfs(t, img)
	cid := ipfs(t, kubo.repo, "add", "--recursive", "--quieter", dir)
	old := "localhost:5000/" + ciq(t, kubo.repo, cid) + "/" + imageName
	mustFind(t, "an image of image2ipfs", "converter repair "+strings.TrimPrefix(old, "localhost:5000/"), old, "--ipfs-api="+kubo.api)

	store := t.TempDir()
	caddy := newCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	repair := func(args ...string) string {
		return runForLine(t, converter(t, os.DevNull, append([]string{"repair", "--registry=" + caddy.registry}, args...)...))
	}
	ref := repair(old, "--from="+kubo.api, "--store="+store)
	mustVerify(t, ref, ref, "--store="+store)
	for _, client := range clients {
		if client.name == "ctr" || client.name == "oras" { // they take no reference without a tag, and here is none but latest
			continue
		}
		t.Run(client.name, func(t *testing.T) { img.mustBe(t, client.pull(t, ref)) })
	}

	exported, repaired := filepath.Join(t.TempDir(), "old.car"), filepath.Join(t.TempDir(), "new.car")
	export := exec.Command(inRepo("bin/ipfs"), "dag", "export", "--progress=false", cid)
	export.Env = append(os.Environ(), "IPFS_PATH="+kubo.repo)
	writeFile(t, exported, run(t, export))
	if got := repair("--from="+exported, "--car="+repaired); got != ref {
		t.Errorf("from a CAR it is repaired to %s, and from the node to %s", got, ref)
	}
	mustVerify(t, ref, "--car="+repaired)
	if got := repair(old, "--from="+kubo.api, "--ipfs-api="+kubo.api); got != ref {
		t.Errorf("on the node it is repaired to %s, and in the store to %s", got, ref)
	}
	mustVerify(t, ref, ref, "--ipfs-api="+kubo.api)
	mustRefuse(t, converter(t, os.DevNull, "repair", ref, "--from="+store, "--car="+repaired), "there is nothing to repair")
}

// image2ipfs writes an image as image2ipfs 0.1.0 did, whose layers go by the
// digests that they have before they are compressed.
func image2ipfs(t *testing.T, img image) (dir string) {
	t.Helper()
	a := readArchive(t, img.archive)
	saved := a.saved(t)
	dir = t.TempDir()
	m := manifest{SchemaVersion: 2, MediaType: schema2}
	add := func(mediaType, digest string, blob []byte) descriptor {
		writeFile(t, filepath.Join(dir, imageName, "blobs", digest), string(blob))
		return descriptor{mediaType, len(blob), digest}
	}
	config := a.file(t, saved.Config)
	m.Config = add(configType, digestOf(config), config)
	for _, layer := range saved.Layers {
		tar := a.file(t, layer)
		m.Layers = append(m.Layers, add(gzippedTars, digestOf(tar), gzipped(t, tar)))
	}
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, imageName, "manifests", "latest-v2"), string(content)+"\n")
	return dir
}

// An image shows what it is made of, as it is served, and what of that others
// have: all of an image that goes by another name as well.
func TestInspect(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	store, car := t.TempDir(), filepath.Join(t.TempDir(), "image.car")
	caddy := newCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref := convert(t, img.archive, "--store="+store, "--registry="+caddy.registry)
	convert(t, img.archive, "--car="+car)
	m, digest := fetchManifest(t, ref)

	i := inspect(t, ref, "--store="+store)
	if i.Root != root(t, ref) || !slices.Contains(i.CIDs, cidV1(t, i.Root)) {
		t.Errorf("the root is %s, %v", i.Root, i.CIDs)
	}
	app := i.Images[0]
	if len(i.Images) != 1 || app.Name != imageName || !slices.Equal(app.Tags, []string{"v1"}) || app.Digest != digest || app.MediaType != m.MediaType {
		t.Errorf("the images are %+v", i.Images)
	}
	if app.Shared.Leaves != 0 || app.Leaves < 4 {
		t.Errorf("it has %d leaves and shares %d with itself", app.Leaves, app.Shared.Leaves)
	}
	of := app.Manifests[0]
	if of.Platform.OS != "linux" || of.Digest != digest || !slices.EqualFunc(append(of.Layers, of.Config), append(m.Layers, m.Config), sameBlob) {
		t.Errorf("the manifest is %+v, and served is %+v", of, m)
	}

	if i := inspect(t, "--car="+car); i.Root != root(t, ref) || i.Images[0].Shared != nil {
		t.Errorf("in the CAR there is %+v", i)
	}
	if i := inspect(t, "--car="+car, "--store="+store); i.Images[0].Shared.Leaves != app.Leaves || i.Images[0].Shared.Size != app.Size {
		t.Errorf("of the CAR, the store has %+v", i.Images[0].Shared)
	}
	convert(t, img.archive, "--store="+store, "--name=other")
	if i := inspect(t, ref, "--store="+store); i.Images[0].Shared.Leaves != app.Leaves {
		t.Errorf("of the image, another has %+v of %d leaves", i.Images[0].Shared, app.Leaves)
	}
	if human := run(t, converter(t, os.DevNull, "inspect", ref, "--store="+store)); !strings.Contains(human, digest) || strings.Count(human, "layer ") != len(m.Layers) {
		t.Errorf("for people:\n%s", human)
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

func sameBlob(b inspectedBlob, d descriptor) bool {
	return b.MediaType == d.MediaType && b.Digest == d.Digest && b.Size == d.Size && b.CID != "" && b.Leaves > 0
}

func inspect(t *testing.T, args ...string) (i inspection) {
	t.Helper()
	out := run(t, converter(t, os.DevNull, append([]string{"inspect", "--json"}, args...)...))
	if err := json.Unmarshal([]byte(out), &i); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return i
}
