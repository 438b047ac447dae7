package tests

import (
	"archive/tar"
	"crypto/sha512"
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
)

// loaders are the programs that load archives. Each must get the whole image,
// and gives back its config's digest.
var loaders = []struct {
	name string
	load func(t *testing.T, archive string) (id string)
}{
	{"docker", func(t *testing.T, archive string) string {
		return loadByDocker(t, newDocker(t), archive)
	}},
	{"newer docker", func(t *testing.T, archive string) string {
		return loadByDocker(t, newTrixieDocker(t, "classic"), archive)
	}},
	{"docker with containerd's store", func(t *testing.T, archive string) string {
		id := loadByDocker(t, newTrixieDocker(t, "containerd"), archive)
		if top := layoutIndex(t, archive).Manifests[0].Digest; id != top {
			t.Errorf("its ID is %s, and the archive has %s", id, top)
		}
		return "" // which there does not depend on the config alone
	}},
	{"podman", func(t *testing.T, archive string) string {
		podman := newPodman(t)
		podman("load", "--input="+archive)
		return runByPodman(t, podman, imageName+":v1")
	}},
	{"skopeo docker-archive", func(t *testing.T, archive string) string {
		return loadBySkopeo(t, "docker-archive:"+archive)
	}},
	{"skopeo oci-archive", func(t *testing.T, archive string) string {
		return loadBySkopeo(t, "oci-archive:"+archive)
	}},
	{"ctr", func(t *testing.T, archive string) string {
		ctr := newContainerd(t)
		ctr("images", "import", "--snapshotter=native", archive)
		return configByCtr(t, ctr, "docker.io/"+imageName+":v1")
	}},
}

func loadByDocker(t *testing.T, d *docker, archive string) string {
	d.docker(t, "load", "--input="+archive)
	d.mustRun(t, imageName+":v1")
	return d.id(t, imageName+":v1")
}

func loadBySkopeo(t *testing.T, from string) string {
	needs(t, "skopeo")
	dir := t.TempDir()
	run(t, exec.Command("skopeo", "copy", from, "dir:"+dir))
	return config(t, readFile(t, filepath.Join(dir, "manifest.json")))
}

// What is on IPFS comes back as an archive that every program loads, the same
// from a store, a CAR file and a node; and converted again it has its address
// again.
func TestExport(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	store, dir := t.TempDir(), t.TempDir()
	car := filepath.Join(dir, "image.car")
	ref := convert(t, img.archive, "--store="+store)
	convert(t, img.archive, "--car="+car)
	convert(t, img.archive, "--ipfs-api="+kubo.api)

	archive := export(t, ref, "--store="+store)
	content := readFile(t, archive)
	if again := readFile(t, export(t, "--car="+car)); again != content {
		t.Error("the archive from the CAR file is another one")
	}
	if again := readFile(t, export(t, ref, "--ipfs-api="+kubo.api)); again != content {
		t.Error("the archive from the node is another one")
	}
	if stdout := run(t, exec.Command(inRepo("bin/converter"), "export", ref, "--store="+store)); stdout != content {
		t.Error("the archive on standard output is another one")
	}
	if got, address := root(t, convert(t, archive, "--store="+t.TempDir())), root(t, ref); got != address {
		t.Errorf("converted again, the image is at %s, not at %s", got, address)
	}
	for _, loader := range loaders {
		t.Run(loader.name, func(t *testing.T) {
			t.Parallel()
			if id := loader.load(t, archive); id != "" {
				img.mustBe(t, id)
			}
		})
	}
}

// An archive of several images has them all, or those that the reference names.
func TestExportSeveral(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	store := "--store=" + t.TempDir()
	first := convert(t, img.archive, store)
	ref := convert(t, img.archive, store, "--onto="+root(t, first), "--name=other", "--tag=v2")
	address := strings.Split(ref, "/")[1]

	for reference, want := range map[string][]string{
		address:                          {"other:v2", imageName + ":v1"},
		address + "/other":               {"other:v2"},
		address + "/other:latest":        {"other:latest"},
		"example.com/" + address + ":v1": {imageName + ":v1"},
	} {
		archive := export(t, reference, store)
		if got := readArchive(t, archive).saved(t).RepoTags; !slices.Equal(got, want) {
			t.Errorf("the archive of %s has %v, not %v", reference, got, want)
		}
		d := newDocker(t)
		d.docker(t, "load", "--input="+archive)
		for _, name := range want {
			img.mustBe(t, d.id(t, name))
		}
	}
	mustRefuse(t, exec.Command(inRepo("bin/converter"), "export", address+"/other:v3", store), "no image other:v3 .* other:v2")
	mustRefuse(t, exec.Command(inRepo("bin/converter"), "export", address+"/another", store), "no image another ")
}

// An index goes out as it is, with the platforms that are there, with what is
// attested of them, and with what refers to it; so does what is no image. Docker
// is told of this machine's platform, or of the one that is chosen.
func TestExportIndex(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	layout := newLayout(t)
	config := readArchive(t, img.archive).file(t, readArchive(t, img.archive).saved(t).Config)
	image := func(config []byte) ociDescriptor {
		var layers []ociDescriptor
		a := readArchive(t, img.archive)
		for _, layer := range a.saved(t).Layers {
			layers = append(layers, layout.blob(ociLayer, gzipped(t, a.file(t, layer))))
		}
		return layout.manifest(ociManifest, map[string]any{"config": layout.blob(ociConfig, config), "layers": layers})
	}
	here, there, missing := "linux/"+runtime.GOARCH, "linux/riscv64", "linux/s390x"
	other := []byte(strings.Replace(string(config), `"`+runtime.GOARCH+`"`, `"riscv64"`, 1))
	attested := layout.manifest(ociManifest, map[string]any{
		"config": layout.blob(ociConfig, []byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`)),
		"layers": []ociDescriptor{layout.blob("application/vnd.in-toto+json", []byte(`{"is":"attested"}`))},
	})
	absent := ociDescriptor{MediaType: ociManifest, Size: 3, Digest: digestOf([]byte("not"))}
	index := layout.manifest(ociIndex, map[string]any{"manifests": []ociDescriptor{
		image(other).of(there), image(config).of(here), absent.of(missing), attested.of("unknown/unknown"),
	}})
	signature := layout.manifest(ociManifest, map[string]any{
		"artifactType": "application/vnd.example.signature",
		"config":       layout.blob("application/vnd.oci.empty.v1+json", []byte("{}")),
		"layers":       []ociDescriptor{layout.blob("application/vnd.example.signature", []byte("signed"))},
		"subject":      index,
	})
	chart := layout.manifest(ociManifest, map[string]any{
		"config": layout.blob("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"chart"}`)),
		"layers": []ociDescriptor{layout.sha512("application/vnd.cncf.helm.chart.content.v1.tar+gzip", gzipped(t, []byte("a chart")))},
	})
	archive := layout.write(t, index.named(imageName+":v1"), chart.named("team/chart:v1"), signature)

	store := "--store=" + t.TempDir()
	var address string
	for ref := range strings.Lines(run(t, converter(t, archive, store))) {
		address = strings.Split(ref, "/")[1]
	}
	stdout, stderr, err := try(exec.Command(inRepo("bin/converter"), "export", address, store))
	if err != nil || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, missing) {
		t.Fatalf("%v: said %q, not one line about %s", err, stderr, missing)
	}
	exported := archiveOf(t, stdout)
	for ref := range strings.Lines(run(t, converter(t, exported, "--store="+t.TempDir()))) {
		if got := strings.Split(ref, "/")[1]; got != address {
			t.Errorf("converted again, the images are at %s, not at %s", got, address)
		}
	}
	img.mustBe(t, loadByDocker(t, newDocker(t), exported))
	img.mustBe(t, loadBySkopeo(t, "docker-archive:"+exported))
	img.mustBe(t, loadBySkopeo(t, "oci-archive:"+export(t, address+"/"+imageName, store)+":v1"))
	loadByDocker(t, newTrixieDocker(t, "containerd"), exported)

	t.Run("platform", func(t *testing.T) {
		exported := export(t, address+"/"+imageName, "--platform="+there, store)
		if n := len(layoutIndex(t, exported).Manifests); n != 1 {
			t.Errorf("the index names %d manifests", n)
		}
		if got := loadBySkopeo(t, "oci-archive:"+exported); got != digestOf(other) {
			t.Errorf("for %s, skopeo gets the image %s, not %s", there, got, digestOf(other))
		}
		d := newDocker(t)
		d.docker(t, "load", "--input="+exported)
		if got := d.id(t, imageName+":v1"); got != digestOf(other) {
			t.Errorf("for %s, Docker gets the image %s, not %s", there, got, digestOf(other))
		}
		mustRefuse(t, exec.Command(inRepo("bin/converter"), "export", address+"/"+imageName, "--platform="+missing, store),
			fmt.Sprintf("no image for %s: there is .*%s", missing, there))
	})
	t.Run("artifact", func(t *testing.T) {
		exported := readArchive(t, export(t, address+"/team/chart:v1", store))
		if slices.ContainsFunc(exported, func(e entry) bool { return e.Name == "manifest.json" }) {
			t.Error("Docker is told of an artifact")
		}
		exported.find(t, "index.json")
	})
}

// Images that image2ipfs put on IPFS need no registry any more.
func TestExportOfImage2ipfs(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	m, blobs := schema2Of(t, img)
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for digest, blob := range blobs {
		writeFile(t, filepath.Join(dir, imageName, "blobs", digest), blob)
	}
	writeFile(t, filepath.Join(dir, imageName, "manifests", "latest-v2"), string(content)+"\n")
	kubo := newKubo(t)
	cid := ipfs(t, kubo.repo, "add", "--recursive", "--quieter", dir)
	d := newDocker(t)
	d.docker(t, "load", "--input="+export(t, cid+"/"+imageName, "--ipfs-api="+kubo.api))
	d.mustRun(t, imageName)
	img.mustBe(t, d.id(t, imageName))
}

// Wrong bytes do not go out as an image, wherever they are: one line says what is
// wrong, no file is left, and what was piped already is taken by nobody.
func TestExportOfBroken(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	for _, broken := range []struct {
		name  string
		spoil func(t *testing.T, img image) (args []string)
		says  string
	}{
		{"flipped bit", func(t *testing.T, img image) []string {
			store := t.TempDir()
			ref := convert(t, img.archive, "--store="+store)
			largest := largestBlob(t, store)
			content := []byte(readFile(t, largest))
			content[len(content)-100] ^= 1
			writeFile(t, largest, string(content))
			return []string{ref, "--store=" + store}
		}, "blob sha256:[0-9a-f]{64}: leaf bafk.* at byte [0-9]+: content is not what its hash says"},
		{"missing blob", func(t *testing.T, img image) []string {
			store := t.TempDir()
			ref := convert(t, img.archive, "--store="+store)
			os.Remove(largestBlob(t, store))
			return []string{ref, "--store=" + store}
		}, "blob sha256:[0-9a-f]{64}: .*no such file"},
		{"missing manifest", func(t *testing.T, img image) []string {
			store := t.TempDir()
			ref := convert(t, img.archive, "--store="+store)
			nodes := filepath.Join(store, "nodes")
			for name, content := range tree(t, nodes) {
				if strings.HasPrefix(content, `{"schemaVersion"`) {
					os.Remove(filepath.Join(nodes, name))
				}
			}
			return []string{ref, "--store=" + store}
		}, "reading block bafk[a-z2-7]+ from the store in .* no such file"},
		{"nothing of it", func(t *testing.T, img image) []string {
			address := root(t, convert(t, img.archive, "--store="+t.TempDir()))
			return []string{address, "--store=" + t.TempDir()}
		}, "ciq[a-z2-7]+ is not in the store in "},
		{"CAR cut short", func(t *testing.T, img image) []string {
			car := filepath.Join(t.TempDir(), "image.car")
			ref := convert(t, img.archive, "--car="+car)
			if err := os.Truncate(car, int64(len(readFile(t, car)))*3/4); err != nil {
				t.Fatal(err)
			}
			return []string{ref, "--car=" + car}
		}, "block baf[a-z2-7]+: unexpected EOF"},
		{"node without a leaf", func(t *testing.T, img image) []string {
			store, kubo := t.TempDir(), newKubo(t)
			convert(t, img.archive, "--store="+store)
			address := cidV1(t, root(t, convert(t, img.archive, "--ipfs-api="+kubo.api)))
			leaves := ipfs(t, kubo.repo, "refs", address+"/"+imageName+"/blobs/sha256:"+filepath.Base(largestBlob(t, store)))
			ipfs(t, kubo.repo, "pin", "rm", address)
			ipfs(t, kubo.repo, "block", "rm", leaves[strings.LastIndexByte(leaves, '\n')+1:])
			return []string{address, "--ipfs-api=" + kubo.api}
		}, "blob sha256:[0-9a-f]{64}: .* from the IPFS node .* at byte [0-9]+"},
		{"a blob by another's digest", func(t *testing.T, img image) []string {
			m, blobs := schema2Of(t, img)
			content, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for digest, blob := range blobs {
				if len(blob) > 1<<20 {
					blob = noise(len(blob))
				}
				writeFile(t, filepath.Join(dir, "blobs", digest), blob)
			}
			writeFile(t, filepath.Join(dir, "manifests", "v1"), string(content))
			kubo := newKubo(t)
			return []string{ipfs(t, kubo.repo, "add", "--recursive", "--quieter", dir), "--ipfs-api=" + kubo.api}
		}, "blob sha256:[0-9a-f]{64}: the content has another digest"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			args := broken.spoil(t, img)
			file := filepath.Join(t.TempDir(), "out.tar")
			mustRefuse(t, exec.Command(inRepo("bin/converter"), append([]string{"export", "--output=" + file}, args...)...), broken.says)
			if left := tree(t, filepath.Dir(file)); len(left) != 1 {
				t.Errorf("it left %d files behind", len(left)-1)
			}
			stdout, stderr, err := try(exec.Command(inRepo("bin/converter"), append([]string{"export"}, args...)...))
			if err == nil || strings.Count(stderr, "\n") != 1 || !regexp.MustCompile(broken.says).MatchString(stderr) {
				t.Errorf("%v: said %q, not one line about %q", err, stderr, broken.says)
			}
			if stdout == "" {
				return
			}
			d := newDocker(t)
			if said, _, err := try(d.command("load", "--input="+archiveOf(t, stdout))); err == nil {
				t.Errorf("Docker loads what was written: %s", said)
			}
			if _, _, err := try(converter(t, archiveOf(t, stdout), "--store="+t.TempDir())); err == nil {
				t.Error("the converter takes what was written")
			}
		})
	}
}

// Nobody gets an archive on his screen.
func TestTerminalAsOutput(t *testing.T) {
	t.Parallel()
	needs(t, "script", "bin/converter")
	const address = "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"
	command := inRepo("bin/converter") + " export " + address + " --store=" + t.TempDir()
	stdout, _, err := try(exec.Command("script", "--quiet", "--return", "--command", command, os.DevNull))
	if err == nil || !strings.Contains(stdout, "terminal") || strings.Count(strings.TrimSpace(stdout), "\n") != 0 {
		t.Errorf("at a terminal: %v\n%s", err, stdout)
	}
}

// export runs converter export and gives back the file that it writes.
func export(t *testing.T, args ...string) (archive string) {
	t.Helper()
	needs(t, "bin/converter")
	archive = filepath.Join(t.TempDir(), "exported.tar")
	run(t, exec.Command(inRepo("bin/converter"), append([]string{"export", "--output=" + archive}, args...)...))
	return archive
}

func largestBlob(t *testing.T, store string) string {
	t.Helper()
	var largest string
	var size int
	for name, content := range tree(t, filepath.Join(store, "blobs")) {
		if len(content) > size {
			largest, size = name, len(content)
		}
	}
	return filepath.Join(store, "blobs", largest)
}

// An ociLayoutWriter collects the blobs of an OCI layout.
type ociLayoutWriter struct {
	t       *testing.T
	archive archive
	names   map[string]bool
}

type ociDescriptor struct {
	MediaType   string            `json:"mediaType"`
	Size        int               `json:"size"`
	Digest      string            `json:"digest"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// of is the descriptor for a platform.
func (d ociDescriptor) of(platform string) ociDescriptor {
	system, architecture, _ := strings.Cut(platform, "/")
	d.Platform = map[string]string{"os": system, "architecture": architecture}
	return d
}

// named is the descriptor with a name.
func (d ociDescriptor) named(name string) ociDescriptor {
	d.Annotations = map[string]string{"io.containerd.image.name": "docker.io/" + name}
	return d
}

func newLayout(t *testing.T) *ociLayoutWriter {
	return &ociLayoutWriter{t: t, names: map[string]bool{}}
}

func (l *ociLayoutWriter) blob(mediaType string, content []byte) ociDescriptor {
	return l.add(mediaType, digestOf(content), content)
}

func (l *ociLayoutWriter) sha512(mediaType string, content []byte) ociDescriptor {
	return l.add(mediaType, fmt.Sprintf("sha512:%x", sha512.Sum512(content)), content)
}

func (l *ociLayoutWriter) add(mediaType, digest string, content []byte) ociDescriptor {
	name := "blobs/" + strings.Replace(digest, ":", "/", 1)
	if !l.names[name] {
		l.archive = append(l.archive, entry{tar.Header{Name: name, Mode: 0o644}, content})
	}
	l.names[name] = true
	return ociDescriptor{MediaType: mediaType, Size: len(content), Digest: digest}
}

func (l *ociLayoutWriter) manifest(mediaType string, fields map[string]any) ociDescriptor {
	l.t.Helper()
	fields["schemaVersion"], fields["mediaType"] = 2, mediaType
	content, err := json.Marshal(fields)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, content)
}

// write writes the layout, whose index has the given descriptors, as an archive.
func (l *ociLayoutWriter) write(t *testing.T, index ...ociDescriptor) (file string) {
	t.Helper()
	content, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": index})
	if err != nil {
		t.Fatal(err)
	}
	return append(l.archive,
		entry{tar.Header{Name: "index.json", Mode: 0o644}, content},
		entry{tar.Header{Name: "oci-layout", Mode: 0o644}, []byte(`{"imageLayoutVersion":"1.0.0"}`)}).write(t)
}

// layoutIndex is the index of an archive that is an OCI layout.
func layoutIndex(t *testing.T, archive string) (index struct{ Manifests []descriptor }) {
	t.Helper()
	if err := json.Unmarshal(readArchive(t, archive).file(t, "index.json"), &index); err != nil {
		t.Fatal(err)
	}
	return index
}
