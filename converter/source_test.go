package converter

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A conversion is the result of converting a source.
type conversion struct {
	*Result
	in   *store.Store
	said string
}

func convertFrom(t *testing.T, src source.Source, o Options) (conversion, error) {
	t.Helper()
	dir := t.TempDir()
	dst, err := destination.ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var said strings.Builder
	o.Logf = func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) }
	result, err := Convert(t.Context(), src, dst, o)
	return conversion{result, store.Open(dir), said.String()}, err
}

func mustConvertFrom(t *testing.T, src source.Source, o Options) conversion {
	t.Helper()
	c, err := convertFrom(t, src, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// manifest returns what a client gets for a reference to the first image.
func (c conversion) manifest(t *testing.T, reference string) (layout.Manifest, error) {
	t.Helper()
	return layout.FindManifest(t.Context(), c.in, layout.Image{Root: c.Root, Name: c.Images[0].Name}, reference)
}

func (c conversion) mustHave(t *testing.T, reference string) layout.Manifest {
	t.Helper()
	m, err := c.manifest(t, reference)
	if err != nil {
		t.Fatalf("%s: %v", reference, err)
	}
	return m
}

func (c conversion) blob(t *testing.T, d digest.Digest) ([]byte, error) {
	t.Helper()
	return c.in.ReadFile(t.Context(), c.Root, layout.BlobPath(c.Images[0].Name, d), 1<<30)
}

// unpack makes a directory of an archive.
func unpack(t *testing.T, archive []byte) string {
	t.Helper()
	dir := t.TempDir()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A layout gives the same images as a directory and as an archive. Of a directory, only
// the wanted files are read.
func TestLayout(t *testing.T) {
	tb := new(testimage.Tarball)
	one := testimage.Tagged(testimage.GzippedImage(tb, testimage.New(nil, testimage.Layer("a", 50_000))), "1.0")
	index, _, _ := testimage.MultiPlatform(tb)
	archive := testimage.LayoutOf(tb, one, testimage.Tagged(index, "2.0"))
	whole := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{})
	dir := unpack(t, archive)
	if got := mustConvertFrom(t, source.FromLayout(dir), Options{}); got.Root != whole.Root {
		t.Errorf("the root is %s from the directory and %s from the archive", got.Root, whole.Root)
	}
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(ocilayout.BlobPath(index.Digest)))); err != nil {
		t.Fatal(err)
	}
	for _, src := range []source.Source{source.FromLayout(dir), source.FromArchive(bytes.NewReader(archive))} {
		got := mustConvertFrom(t, src, Options{Image: "1.0"})
		if len(got.Images) != 1 || got.Images[0].Tag != "1.0" || got.Images[0].Digest != one.Digest {
			t.Errorf("1.0 is %v", got.Images)
		}
	}
	for name, test := range map[string]struct {
		src         source.Source
		image, want string
	}{
		"missing index":    {source.FromLayout(dir), "", "is not in " + dir},
		"no such tag":      {source.FromLayout(dir), "3.0", `is called "3.0": there is 1.0, 2.0`},
		"no layout":        {source.FromLayout(t.TempDir()), "", "no OCI layout"},
		"no such name":     {source.FromArchive(bytes.NewReader(testimage.OldDocker(testimage.New([]string{"app:1"})))), "app:2", "there is app:1"},
		"no unpulled name": {source.FromArchive(bytes.NewReader(testimage.LayoutOf(new(testimage.Tarball), testimage.Tagged(one, "a/blobs:1")))), "", `image name "a/blobs:1"`},
	} {
		if _, err := convertFrom(t, test.src, Options{Image: test.image}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want %q", name, err, test.want)
		}
	}
}

// The same content has the same address, whatever source it comes from: the bytes alone
// decide where they are cut.
func TestOneRootFromEverywhere(t *testing.T) {
	const name = "docker.io/team/app:1.0"
	layer, text := testimage.Layer("a", 600_000), bytes.Repeat([]byte("what was found\n"), 100_000)
	chart := slices.Concat(testimage.Gzipped(text[:500_000]), testimage.Gzipped(testimage.Random("chart", 700_000)), testimage.Gzipped(text))
	img := testimage.New([]string{name}, layer, testimage.Layer("b", 10))
	artifact := func(tb *testimage.Tarball, layers ...[]byte) v1.Descriptor {
		m := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON)
		tb.Blob([]byte("{}"))
		for _, l := range layers {
			tb.Blob(l)
			m.Layers = append(m.Layers, testimage.Describe("application/vnd.example.part", l))
		}
		tb.Blob(testimage.Marshal(m))
		return testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m))
	}
	for kind, add := range map[string]func(tb *testimage.Tarball) v1.Descriptor{
		"an image": func(tb *testimage.Tarball) v1.Descriptor { return testimage.GzippedImage(tb, img) },
		"an index": func(tb *testimage.Tarball) v1.Descriptor {
			index, _, _ := testimage.MultiPlatform(tb)
			return index
		},
		"an index of plain layers": func(tb *testimage.Tarball) v1.Descriptor {
			tb.Blob(img.Config).Blob(img.Layers[0]).Blob(img.Layers[1])
			list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{testimage.OCIManifest(tb, img.Config, v1.MediaTypeImageConfig, img.Layers...)}}
			list.SchemaVersion = 2
			tb.Blob(testimage.Marshal(list))
			return testimage.Describe(v1.MediaTypeImageIndex, testimage.Marshal(list))
		},
		"zstd": func(tb *testimage.Tarball) v1.Descriptor {
			z := testimage.Zstandard(t, layer)
			m := testimage.ImageManifest(testimage.New(nil, layer).Config, v1.MediaTypeImageConfig, z)
			m.Layers[0].MediaType = v1.MediaTypeImageLayerZstd
			tb.Blob(testimage.New(nil, layer).Config).Blob(z).Blob(testimage.Marshal(m))
			return testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m))
		},
		"a text": func(tb *testimage.Tarball) v1.Descriptor { return artifact(tb, text) },
		"a long document": func(tb *testimage.Tarball) v1.Descriptor {
			return artifact(tb, append([]byte("{"), slices.Repeat(text, 3)...))
		},
		"random bytes":          func(tb *testimage.Tarball) v1.Descriptor { return artifact(tb, testimage.Random("model", 3<<19)) },
		"a tar":                 func(tb *testimage.Tarball) v1.Descriptor { return artifact(tb, layer) },
		"gzip of several parts": func(tb *testimage.Tarball) v1.Descriptor { return artifact(tb, chart) },
		"nearly nothing": func(tb *testimage.Tarball) v1.Descriptor {
			return artifact(tb, nil, make([]byte, 1024), []byte("\x1f\x8b"))
		},
	} {
		tb := new(testimage.Tarball)
		top := add(tb)
		r := newTestRegistry(t, tb, map[string]v1.Descriptor{"1.0": top})
		archive := testimage.LayoutOf(tb, testimage.Tagged(top, name))
		for _, o := range []Options{{}, {Compression: blob.Uncompressed, Recompress: true}} {
			want := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), o)
			if got := mustConvertFrom(t, source.FromLayout(unpack(t, archive)), o); got.Root != want.Root {
				t.Errorf("%s, %+v: the root is %s from the directory and %s from the archive", kind, o, got.Root, want.Root)
			}
			if got := mustConvertFrom(t, r.source(":1.0"), o); got.Root != want.Root {
				t.Errorf("%s, %+v: the root is %s from the registry and %s from the archive", kind, o, got.Root, want.Root)
			}
		}
	}
	partial, _ := testimage.ContainerdDocker(img)
	for kind, archive := range map[string][]byte{
		"new Docker": testimage.NewDocker(img, testimage.New([]string{"team/other:2"}, layer)), "containerd": partial,
	} {
		want := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{})
		if got := mustConvertFrom(t, source.FromLayout(unpack(t, archive)), Options{}); got.Root != want.Root {
			t.Errorf("%s: the root is %s from the directory and %s from the archive", kind, got.Root, want.Root)
		}
	}
}

// Two names that mean one image to Docker mean one image here.
func TestNamedImageOfADockerArchive(t *testing.T) {
	archive := testimage.OldDocker(testimage.New([]string{"app:1.0", "app:latest"}, testimage.Layer("a", 10)), testimage.New([]string{"app:2.0"}, testimage.Layer("b", 10)))
	got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{Image: "docker.io/library/app"})
	if len(got.Images) != 1 || got.Images[0].Tag != "latest" {
		t.Errorf("the images are %v", got.Images)
	}
}

func TestPlatform(t *testing.T) {
	tb := new(testimage.Tarball)
	index, amd64, arm64 := testimage.MultiPlatform(tb)
	signature := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte("[]"))
	signature.Subject = &index
	tb.Blob([]byte("{}")).Blob([]byte("[]")).Blob(testimage.Marshal(signature))
	archive := testimage.LayoutOf(tb, testimage.Tagged(index, "1.0"), testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(signature)))
	for name, want := range map[string]v1.Descriptor{"linux/amd64": amd64, "linux/x86_64": amd64, "linux/arm64": arm64, "linux/arm64/v8": arm64} {
		p, err := platform.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{Platform: p})
		if len(got.Images) != 1 || got.Images[0].Digest != want.Digest || got.Images[0].Tag != "1.0" {
			t.Errorf("%s: the images are %v, want %s", name, got.Images, want.Digest)
		}
		for _, other := range []v1.Descriptor{index, amd64, arm64} {
			if _, err := got.manifest(t, other.Digest.String()); (err == nil) != (other.Digest == want.Digest) {
				t.Errorf("%s: manifest %s: %v", name, other.Digest, err)
			}
		}
	}
	windows := &platform.Platform{OS: "windows", Architecture: "amd64"}
	for _, archive := range [][]byte{archive, testimage.OldDocker(testimage.New([]string{"app:1"}, testimage.Layer("a", 10)))} {
		if _, err := convertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{Platform: windows}); err == nil || !strings.Contains(err.Error(), "linux/amd64") {
			t.Errorf("the error is %v", err)
		}
	}
}

// An index may name blobs of any type, a descriptor may hold the content itself, and
// attestations are kept.
func TestWhatIndexesName(t *testing.T) {
	tb := new(testimage.Tarball)
	index, amd64, arm64 := testimage.MultiPlatform(tb)
	document := []byte("<xml/> and no manifest")
	manifest := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON)
	manifest.Config.Data = []byte("{}")
	manifest.ArtifactType = "application/vnd.example"
	d := testimage.Describe("application/vnd.example.document", document)
	list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d, index, testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(manifest))}}
	list.SchemaVersion = 2
	tb.Blob(document).Blob(testimage.Marshal(manifest)).Blob(testimage.Marshal(list))
	top := testimage.Describe(v1.MediaTypeImageIndex, testimage.Marshal(list))
	got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(testimage.LayoutOf(tb, testimage.Tagged(top, "1.0"), d))), Options{})
	for _, m := range []v1.Descriptor{top, index, amd64, arm64, testimage.Attestation(tb, amd64), list.Manifests[2]} {
		got.mustHave(t, m.Digest.String())
	}
	if blob, err := got.blob(t, d.Digest); err != nil || !bytes.Equal(blob, document) {
		t.Errorf("the document is %q, %v", blob, err)
	}
	if blob, err := got.blob(t, manifest.Config.Digest); err != nil || string(blob) != "{}" {
		t.Errorf("the config is %q, %v", blob, err)
	}
	if !strings.Contains(got.said, "is no image, and is left out") {
		t.Errorf("said %q", got.said)
	}
}

// Blobs and manifests keep the digests that their author chose. Manifests also have
// their sha256, by which registries name them.
func TestOtherDigests(t *testing.T) {
	layer := testimage.Gzipped(testimage.Layer("a", 50_000))
	strong := func(mediaType string, data []byte) v1.Descriptor {
		d := testimage.Describe(mediaType, data)
		d.Digest = digest.SHA512.FromBytes(data)
		return d
	}
	img := testimage.New(nil, testimage.Layer("a", 50_000))
	fields := v1.Image{}
	unmarshal(t, img.Config, &fields)
	fields.RootFS.DiffIDs = []digest.Digest{digest.SHA512.FromBytes(img.Layers[0])}
	config := testimage.Marshal(fields)
	m := testimage.ImageManifest(config, v1.MediaTypeImageConfig, layer)
	m.Config, m.Layers[0] = strong(v1.MediaTypeImageConfig, config), strong(v1.MediaTypeImageLayerGzip, layer)
	top := testimage.Tagged(strong(v1.MediaTypeImageManifest, testimage.Marshal(m)), "1.0")
	archive := func(layer []byte) []byte {
		tb := new(testimage.Tarball).File(ocilayout.BlobPath(m.Config.Digest), config).File(ocilayout.BlobPath(m.Layers[0].Digest), layer)
		return testimage.LayoutOf(tb.File(ocilayout.BlobPath(top.Digest), testimage.Marshal(m)), top)
	}
	for name, src := range map[string]source.Source{"archive": source.FromArchive(bytes.NewReader(archive(layer))), "layout": source.FromLayout(unpack(t, archive(layer)))} {
		got := mustConvertFrom(t, src, Options{})
		for _, reference := range []digest.Digest{top.Digest, digest.FromBytes(testimage.Marshal(m))} {
			if found := got.mustHave(t, reference.String()); !bytes.Equal(found.Data, testimage.Marshal(m)) {
				t.Errorf("%s: %s is another manifest", name, reference)
			}
		}
		if blob, err := got.blob(t, m.Layers[0].Digest); err != nil || !bytes.Equal(blob, layer) {
			t.Errorf("%s: the layer is %d bytes, %v", name, len(blob), err)
		}
	}
	tb := new(testimage.Tarball).Blob(layer)
	var manifests []v1.Descriptor
	for _, by := range []digest.Algorithm{digest.SHA384, digest.SHA512, digest.SHA256} {
		fields.RootFS.DiffIDs = []digest.Digest{by.FromBytes(img.Layers[0])}
		manifests = append(manifests, testimage.Tagged(testimage.OCIManifest(tb.Blob(testimage.Marshal(fields)), testimage.Marshal(fields), v1.MediaTypeImageConfig, layer), by.String()))
	}
	if got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(testimage.LayoutOf(tb, manifests...))), Options{}); len(got.Images) != len(manifests) {
		t.Errorf("one layer by three digests: %v", got.Images)
	}
	other := slices.Clone(layer)
	other[len(other)-1] ^= 1
	if _, err := convertFrom(t, source.FromArchive(bytes.NewReader(archive(other))), Options{}); err == nil || !strings.Contains(err.Error(), "has the digest") {
		t.Errorf("a layer that lies: %v", err)
	}
}

// Non-distributable layers are kept where they are present, and may be missing.
func TestForeignLayers(t *testing.T) {
	base, own := testimage.Layer("windows", 50_000), testimage.Layer("own", 1000)
	img := testimage.New(nil, base, own)
	m := testimage.ImageManifest(img.Config, v1.MediaTypeImageConfig, testimage.Gzipped(base), testimage.Gzipped(own))
	m.Layers[0].MediaType = layout.DockerForeignLayer + ".gzip"
	m.Layers[0].URLs = []string{"https://base.example/layer"}
	for name, there := range map[string]bool{"there": true, "not there": false} {
		tb := new(testimage.Tarball).Blob(img.Config).Blob(testimage.Gzipped(own)).Blob(testimage.Marshal(m))
		if there {
			tb.Blob(testimage.Gzipped(base))
		}
		archive := testimage.LayoutOf(tb, testimage.Tagged(testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m)), "1.0"))
		got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{})
		if found := got.mustHave(t, "1.0"); !bytes.Equal(found.Data, testimage.Marshal(m)) {
			t.Errorf("%s: the manifest has changed", name)
		}
		if _, err := got.blob(t, m.Layers[0].Digest); (err == nil) != there {
			t.Errorf("%s: the layer: %v", name, err)
		}
		if strings.Contains(got.said, m.Layers[0].Digest.String()) == there {
			t.Errorf("%s: said %q", name, got.said)
		}
	}
}

// The last of several entries with the same name counts. The others leave no files.
func TestEntriesNamedTheSame(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 10))
	want, _ := convert(t, testimage.OldDocker(img))
	tb := new(testimage.Tarball)
	for i := range 1000 {
		tb.File("l.tar", fmt.Append(nil, i)).File(ocilayout.DockerList, []byte("[]"))
	}
	list := []ocilayout.DockerEntry{{Config: "c.json", RepoTags: img.RepoTags, Layers: []string{"l.tar"}}}
	archive := tb.File("c.json", img.Config).File("l.tar", img.Layers[0]).File(ocilayout.DockerList, testimage.Marshal(list)).Close()
	dst := &checker{dir: t.TempDir()}
	got, err := Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, Options{})
	if err != nil || got.Root != want.Root || dst.wrong != "" {
		t.Errorf("the root is %v, want %s: %v, %s", got, want.Root, err, dst.wrong)
	}
	if left := files(t, dst.dir); len(left) > 10 {
		t.Errorf("%d files are left", len(left))
	}
}

// A document that is too long is refused, wherever it is.
func TestLongDocuments(t *testing.T) {
	long := append(bytes.Repeat([]byte(" "), layout.MaxManifest), "{}"...)
	endless := bytes.Repeat([]byte(" "), 20<<20)
	d := testimage.Describe(v1.MediaTypeImageManifest, long)
	longConfig := append(bytes.Repeat([]byte(" "), blob.MaxConfig), "{}"...)
	config := testimage.Describe(v1.MediaTypeImageConfig, longConfig)
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config}
	m.SchemaVersion = 2
	list := testimage.Marshal([]ocilayout.DockerEntry{{Config: "c.json"}})
	for name, archive := range map[string][]byte{
		"manifest.json": new(testimage.Tarball).File(ocilayout.DockerList, endless).Close(),
		"index.json":    new(testimage.Tarball).File(ocilayout.Index, endless).Close(),
		"manifest":      testimage.LayoutOf(new(testimage.Tarball).Blob(long), d),
		"config":        testimage.LayoutOf(new(testimage.Tarball).Blob(longConfig).Blob(testimage.Marshal(m)), testimage.Describe(m.MediaType, testimage.Marshal(m))),
		"Docker config": new(testimage.Tarball).File("c.json", longConfig).File(ocilayout.DockerList, list).Close(),
	} {
		if _, err := convertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{}); err == nil || !strings.Contains(err.Error(), "the most is ") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
