package export

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// loaders are the programs that load archives. Load returns the digest of the image's
// config, or "" if the program does not tell.
var loaders = []struct {
	name string
	load func(t *testing.T, archive string) (id string)
}{
	{"docker", func(t *testing.T, archive string) string {
		return loadByDocker(t, harness.NewDocker(t), archive)
	}},
	{"newer docker", func(t *testing.T, archive string) string {
		return loadByDocker(t, harness.NewTrixieDocker(t, "classic"), archive)
	}},
	{"docker with containerd's store", func(t *testing.T, archive string) string {
		id := loadByDocker(t, harness.NewTrixieDocker(t, "containerd"), archive)
		if top := layoutIndex(t, archive).Manifests[0].Digest; id != top {
			t.Errorf("the image's ID is %s, want the digest in the index, %s", id, top)
		}
		return ""
	}},
	{"podman", func(t *testing.T, archive string) string {
		podman := harness.NewPodman(t)
		podman("load", "--input="+archive)
		return harness.RunByPodman(t, podman, harness.ImageName+":v1")
	}},
	{"skopeo docker-archive", func(t *testing.T, archive string) string {
		return loadBySkopeo(t, "docker-archive:"+archive)
	}},
	{"skopeo oci-archive", func(t *testing.T, archive string) string {
		return loadBySkopeo(t, "oci-archive:"+archive)
	}},
	{"ctr", func(t *testing.T, archive string) string {
		ctr := harness.NewContainerd(t)
		ctr("images", "import", "--snapshotter=native", archive)
		return harness.ConfigByCtr(t, ctr, "docker.io/"+harness.ImageName+":v1")
	}},
}

func loadByDocker(t *testing.T, d *harness.Docker, archive string) string {
	d.Run(t, "load", "--input="+archive)
	d.MustRun(t, harness.ImageName+":v1")
	return d.ID(t, harness.ImageName+":v1")
}

func loadBySkopeo(t *testing.T, from string) string {
	harness.Need(t, "skopeo")
	dir := t.TempDir()
	harness.Run(t, exec.Command("skopeo", "copy", from, "dir:"+dir))
	return harness.ConfigDigest(t, harness.ReadFile(t, filepath.Join(dir, "manifest.json")))
}

// An exported archive is loaded by every program. It is the same from a store, a CAR file
// and a node, and converts to the same address again.
func TestEveryClientLoadsTheExport(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	store, dir := t.TempDir(), t.TempDir()
	car := filepath.Join(dir, "image.car")
	ref := harness.Convert(t, img.Archive, "--store="+store)
	harness.Convert(t, img.Archive, "--car="+car)
	harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API)

	archive := export(t, ref, "--store="+store)
	content := harness.ReadFile(t, archive)
	if again := harness.ReadFile(t, export(t, "--car="+car)); again != content {
		t.Error("the archives from the store and from the CAR file differ")
	}
	if again := harness.ReadFile(t, export(t, ref, "--ipfs-api="+kubo.API)); again != content {
		t.Error("the archives from the store and from the node differ")
	}
	if stdout := harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "export", ref, "--store="+store)); stdout != content {
		t.Error("the archives in a file and on standard output differ")
	}
	if got, address := harness.RootOf(t, harness.Convert(t, archive, "--store="+t.TempDir())), harness.RootOf(t, ref); got != address {
		t.Errorf("converted again, the image is at %s, want %s", got, address)
	}
	for _, loader := range loaders {
		t.Run(loader.name, func(t *testing.T) {
			harness.Parallel(t)
			if id := loader.load(t, archive); id != "" {
				img.MustBe(t, id)
			}
		})
	}
}

// An exported archive has the images that the reference names, or all of them if it
// names none.
func TestExportHoldsTheImagesOfTheReference(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	store := "--store=" + t.TempDir()
	first := harness.Convert(t, img.Archive, store)
	ref := harness.Convert(t, img.Archive, store, "--onto="+harness.RootOf(t, first), "--name=other", "--tag=v2")
	address := strings.Split(ref, "/")[1]

	for reference, want := range map[string][]string{
		address:                          {"other:v2", harness.ImageName + ":v1"},
		address + "/other":               {"other:v2"},
		address + "/other:latest":        {"other:latest"},
		"example.com/" + address + ":v1": {harness.ImageName + ":v1"},
	} {
		archive := export(t, reference, store)
		if got := harness.ReadArchive(t, archive).Saved(t).RepoTags; !slices.Equal(got, want) {
			t.Errorf("the archive of %s has %v, want %v", reference, got, want)
		}
		d := harness.NewDocker(t)
		d.Run(t, "load", "--input="+archive)
		for _, name := range want {
			img.MustBe(t, d.ID(t, name))
		}
	}
	harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), "export", address+"/other:v3", store), "no image other:v3 .* other:v2")
	harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), "export", address+"/another", store), "no image another ")
}

// Export keeps indexes and artifacts to the byte: an index with the platforms that are
// present, with attestations and with referrers, and a chart. The archive's manifest.json
// tells Docker of this machine's platform, or of the one that --platform chooses.
func TestExportKeepsIndexesAndArtifacts(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	layout := harness.NewOCILayout(t)
	config := harness.ReadArchive(t, img.Archive).File(t, harness.ReadArchive(t, img.Archive).Saved(t).Config)
	image := func(config []byte) harness.OCIDescriptor {
		var layers []harness.OCIDescriptor
		a := harness.ReadArchive(t, img.Archive)
		for _, layer := range a.Saved(t).Layers {
			layers = append(layers, layout.Blob(harness.OCILayer, harness.Gzipped(t, a.File(t, layer))))
		}
		return layout.Manifest(harness.OCIManifest, map[string]any{"config": layout.Blob(harness.OCIConfig, config), "layers": layers})
	}
	here, there, missing := "linux/"+runtime.GOARCH, "linux/riscv64", "linux/s390x"
	other := []byte(strings.Replace(string(config), `"`+runtime.GOARCH+`"`, `"riscv64"`, 1))
	attested := layout.Manifest(harness.OCIManifest, map[string]any{
		"config": layout.Blob(harness.OCIConfig, []byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`)),
		"layers": []harness.OCIDescriptor{layout.Blob("application/vnd.in-toto+json", []byte(`{"is":"attested"}`))},
	})
	absent := harness.OCIDescriptor{MediaType: harness.OCIManifest, Size: 3, Digest: harness.DigestOf([]byte("not"))}
	index := layout.Manifest(harness.OCIIndex, map[string]any{"manifests": []harness.OCIDescriptor{
		image(other).ForPlatform(there), image(config).ForPlatform(here), absent.ForPlatform(missing), attested.ForPlatform("unknown/unknown"),
	}})
	signature := layout.Manifest(harness.OCIManifest, map[string]any{
		"artifactType": "application/vnd.example.signature",
		"config":       layout.Blob("application/vnd.oci.empty.v1+json", []byte("{}")),
		"layers":       []harness.OCIDescriptor{layout.Blob("application/vnd.example.signature", []byte("signed"))},
		"subject":      index,
	})
	chart := layout.Manifest(harness.OCIManifest, map[string]any{
		"config": layout.Blob("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"chart"}`)),
		"layers": []harness.OCIDescriptor{layout.SHA512Blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", harness.Gzipped(t, []byte("a chart")))},
	})
	archive := layout.Write(t, index.Named(harness.ImageName+":v1"), chart.Named("team/chart:v1"), signature)

	store := "--store=" + t.TempDir()
	var address string
	for ref := range strings.Lines(harness.Run(t, harness.Converter(t, archive, store))) {
		address = strings.Split(ref, "/")[1]
	}
	stdout, stderr, err := harness.Try(exec.Command(harness.InRepo("bin/converter"), "export", address, store))
	if err != nil || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, missing) {
		t.Fatalf("%v: standard error is %q, want one line about %s", err, stderr, missing)
	}
	exported := harness.WriteArchive(t, stdout)
	for ref := range strings.Lines(harness.Run(t, harness.Converter(t, exported, "--store="+t.TempDir()))) {
		if got := strings.Split(ref, "/")[1]; got != address {
			t.Errorf("converted again, the images are at %s, want %s", got, address)
		}
	}
	img.MustBe(t, loadByDocker(t, harness.NewDocker(t), exported))
	img.MustBe(t, loadBySkopeo(t, "docker-archive:"+exported))
	img.MustBe(t, loadBySkopeo(t, "oci-archive:"+export(t, address+"/"+harness.ImageName, store)+":v1"))
	loadByDocker(t, harness.NewTrixieDocker(t, "containerd"), exported)

	t.Run("platform", func(t *testing.T) {
		exported := export(t, address+"/"+harness.ImageName, "--platform="+there, store)
		if n := len(layoutIndex(t, exported).Manifests); n != 1 {
			t.Errorf("the index names %d manifests", n)
		}
		if got := loadBySkopeo(t, "oci-archive:"+exported); got != harness.DigestOf(other) {
			t.Errorf("for %s, skopeo gets the image %s, want %s", there, got, harness.DigestOf(other))
		}
		d := harness.NewDocker(t)
		d.Run(t, "load", "--input="+exported)
		if got := d.ID(t, harness.ImageName+":v1"); got != harness.DigestOf(other) {
			t.Errorf("for %s, Docker gets the image %s, want %s", there, got, harness.DigestOf(other))
		}
		harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), "export", address+"/"+harness.ImageName, "--platform="+missing, store),
			fmt.Sprintf("no image for %s: there is .*%s", missing, there))
	})
	t.Run("artifact", func(t *testing.T) {
		exported := harness.ReadArchive(t, export(t, address+"/team/chart:v1", store))
		if slices.ContainsFunc(exported, func(e harness.Entry) bool { return e.Name == "manifest.json" }) {
			t.Error("the archive of an artifact has a manifest.json")
		}
		exported.Find(t, "index.json")
	})
}

// An image in image2ipfs's layout can be exported from a node.
func TestExportReadsImage2ipfsLayout(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	m, blobs := harness.DockerManifestOf(t, img)
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for digest, blob := range blobs {
		harness.WriteFile(t, filepath.Join(dir, harness.ImageName, "blobs", digest), blob)
	}
	harness.WriteFile(t, filepath.Join(dir, harness.ImageName, "manifests", "latest-v2"), string(content)+"\n")
	kubo := harness.NewKubo(t)
	cid := harness.IPFS(t, kubo.Repo, "add", "--recursive", "--quieter", dir)
	d := harness.NewDocker(t)
	d.Run(t, "load", "--input="+export(t, cid+"/"+harness.ImageName, "--ipfs-api="+kubo.API))
	d.MustRun(t, harness.ImageName)
	img.MustBe(t, d.ID(t, harness.ImageName))
}

// Export refuses a damaged image with one line that names the damage. It leaves no file,
// and no client loads the part that it had already written to a pipe.
func TestExportRefusesDamagedImages(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	for _, broken := range []struct {
		name  string
		spoil func(t *testing.T, img harness.Image) (args []string)
		says  string
	}{
		{"flipped bit", func(t *testing.T, img harness.Image) []string {
			store := t.TempDir()
			ref := harness.Convert(t, img.Archive, "--store="+store)
			largest := largestBlob(t, store)
			content := []byte(harness.ReadFile(t, largest))
			content[len(content)-100] ^= 1
			harness.WriteFile(t, largest, string(content))
			return []string{ref, "--store=" + store}
		}, "blob sha256:[0-9a-f]{64}: leaf bafk.* at byte [0-9]+: content is not what its hash says"},
		{"missing blob", func(t *testing.T, img harness.Image) []string {
			store := t.TempDir()
			ref := harness.Convert(t, img.Archive, "--store="+store)
			os.Remove(largestBlob(t, store))
			return []string{ref, "--store=" + store}
		}, "blob sha256:[0-9a-f]{64}: .*no such file"},
		{"missing manifest", func(t *testing.T, img harness.Image) []string {
			store := t.TempDir()
			ref := harness.Convert(t, img.Archive, "--store="+store)
			nodes := filepath.Join(store, "nodes")
			for name, content := range harness.ReadTree(t, nodes) {
				if strings.HasPrefix(content, `{"schemaVersion"`) {
					os.Remove(filepath.Join(nodes, name))
				}
			}
			return []string{ref, "--store=" + store}
		}, "reading block bafk[a-z2-7]+ from the store in .* no such file"},
		{"missing image", func(t *testing.T, img harness.Image) []string {
			address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+t.TempDir()))
			return []string{address, "--store=" + t.TempDir()}
		}, "ciq[a-z2-7]+ is not in the store in "},
		{"CAR cut short", func(t *testing.T, img harness.Image) []string {
			car := filepath.Join(t.TempDir(), "image.car")
			ref := harness.Convert(t, img.Archive, "--car="+car)
			if err := os.Truncate(car, int64(len(harness.ReadFile(t, car)))*3/4); err != nil {
				t.Fatal(err)
			}
			return []string{ref, "--car=" + car}
		}, "block baf[a-z2-7]+: unexpected EOF"},
		{"node without a leaf", func(t *testing.T, img harness.Image) []string {
			store, kubo := t.TempDir(), harness.NewKubo(t)
			harness.Convert(t, img.Archive, "--store="+store)
			address := harness.CIDv1(t, harness.RootOf(t, harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API)))
			leaves := harness.IPFS(t, kubo.Repo, "refs", address+"/"+harness.ImageName+"/blobs/sha256:"+filepath.Base(largestBlob(t, store)))
			harness.IPFS(t, kubo.Repo, "pin", "rm", address)
			harness.IPFS(t, kubo.Repo, "block", "rm", leaves[strings.LastIndexByte(leaves, '\n')+1:])
			return []string{address, "--ipfs-api=" + kubo.API}
		}, "blob sha256:[0-9a-f]{64}: .* from the IPFS node .* at byte [0-9]+"},
		{"a blob by another's digest", func(t *testing.T, img harness.Image) []string {
			m, blobs := harness.DockerManifestOf(t, img)
			content, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for digest, blob := range blobs {
				if len(blob) > 1<<20 {
					blob = harness.Noise(len(blob))
				}
				harness.WriteFile(t, filepath.Join(dir, "blobs", digest), blob)
			}
			harness.WriteFile(t, filepath.Join(dir, "manifests", "v1"), string(content))
			kubo := harness.NewKubo(t)
			return []string{harness.IPFS(t, kubo.Repo, "add", "--recursive", "--quieter", dir), "--ipfs-api=" + kubo.API}
		}, "blob sha256:[0-9a-f]{64}: the content has another digest"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			harness.Parallel(t)
			args := broken.spoil(t, img)
			file := filepath.Join(t.TempDir(), "out.tar")
			harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), append([]string{"export", "--output=" + file}, args...)...), broken.says)
			if left := harness.ReadTree(t, filepath.Dir(file)); len(left) != 1 {
				t.Errorf("export left %d files", len(left)-1)
			}
			stdout, stderr, err := harness.Try(exec.Command(harness.InRepo("bin/converter"), append([]string{"export"}, args...)...))
			if err == nil || strings.Count(stderr, "\n") != 1 || !regexp.MustCompile(broken.says).MatchString(stderr) {
				t.Errorf("%v: standard error is %q, want one line that matches %q", err, stderr, broken.says)
			}
			if stdout == "" {
				return
			}
			d := harness.NewDocker(t)
			if said, _, err := harness.Try(d.Command("load", "--input="+harness.WriteArchive(t, stdout))); err == nil {
				t.Errorf("Docker loads the incomplete archive: %s", said)
			}
			if _, _, err := harness.Try(harness.Converter(t, harness.WriteArchive(t, stdout), "--store="+t.TempDir())); err == nil {
				t.Error("the converter accepts the incomplete archive")
			}
		})
	}
}

// Export refuses to write an archive to a terminal.
func TestTerminalIsNoOutputForArchives(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "script", "bin/converter")
	const address = "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"
	command := harness.InRepo("bin/converter") + " export " + address + " --store=" + t.TempDir()
	stdout, _, err := harness.Try(exec.Command("script", "--quiet", "--return", "--command", command, os.DevNull))
	if err == nil || !strings.Contains(stdout, "terminal") || strings.Count(strings.TrimSpace(stdout), "\n") != 0 {
		t.Errorf("at a terminal: %v\n%s", err, stdout)
	}
}

// export runs converter export and returns the file that it writes.
func export(t *testing.T, args ...string) (archive string) {
	t.Helper()
	harness.Need(t, "bin/converter")
	archive = filepath.Join(t.TempDir(), "exported.tar")
	harness.Run(t, exec.Command(harness.InRepo("bin/converter"), append([]string{"export", "--output=" + archive}, args...)...))
	return archive
}

func largestBlob(t *testing.T, store string) string {
	t.Helper()
	var largest string
	var size int
	for name, content := range harness.ReadTree(t, filepath.Join(store, "blobs")) {
		if len(content) > size {
			largest, size = name, len(content)
		}
	}
	return filepath.Join(store, "blobs", largest)
}

// layoutIndex returns the index.json of an archive.
func layoutIndex(t *testing.T, archive string) (index struct{ Manifests []harness.Descriptor }) {
	t.Helper()
	if err := json.Unmarshal(harness.ReadArchive(t, archive).File(t, "index.json"), &index); err != nil {
		t.Fatal(err)
	}
	return index
}
