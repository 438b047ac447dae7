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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A conversion is what became of a source.
type conversion struct {
	*Result
	in   *store.Store
	said string
}

func convertFrom(t *testing.T, src Source, o Options) (conversion, error) {
	t.Helper()
	dir := t.TempDir()
	dst, err := ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var said strings.Builder
	o.Logf = func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) }
	result, err := Convert(t.Context(), src, dst, o)
	return conversion{result, store.Open(dir), said.String()}, err
}

func mustConvertFrom(t *testing.T, src Source, o Options) conversion {
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

// gzippedImage puts an image with gzipped layers into an archive and returns its
// manifest.
func gzippedImage(tb *tarball, img testImage) v1.Descriptor {
	tb.blob(img.config)
	var layers [][]byte
	for _, l := range img.layers {
		layers = append(layers, gzipped(l))
		tb.blob(gzipped(l))
	}
	return ociManifest(tb, img.config, v1.MediaTypeImageConfig, layers...)
}

func tagged(d v1.Descriptor, name string) v1.Descriptor {
	d.Annotations = map[string]string{v1.AnnotationRefName: name}
	return d
}

// layoutOf ends an archive with the index of an OCI layout.
func layoutOf(tb *tarball, manifests ...v1.Descriptor) []byte {
	return tb.file(ociIndex, marshal(v1.Index{Manifests: manifests})).close()
}

// multiPlatform is an index of two images, each with what buildx attests of it.
func multiPlatform(tb *tarball) (index v1.Descriptor, amd64, arm64 v1.Descriptor) {
	amd64 = gzippedImage(tb, newTestImage(nil, layerTar("amd64", 4000)))
	amd64.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = gzippedImage(tb, newTestImage(nil, layerTar("arm64", 4000)))
	arm64.Platform = &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	manifests := []v1.Descriptor{amd64, arm64}
	for _, d := range manifests {
		manifests = append(manifests, attestation(tb, d))
	}
	list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: manifests}
	list.SchemaVersion = 2
	tb.blob(marshal(list))
	return describe(v1.MediaTypeImageIndex, marshal(list)), amd64, arm64
}

// attestation is as buildx writes it: an image by its config, with statements for
// layers, for no platform.
func attestation(tb *tarball, of v1.Descriptor) v1.Descriptor {
	statement := marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject":       []any{map[string]any{"name": "app", "digest": map[string]string{"sha256": of.Digest.Encoded()}}},
	})
	config := marshal(map[string]any{
		"architecture": "unknown", "os": "unknown", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{digest.FromBytes(statement)}},
	})
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: describe(v1.MediaTypeImageConfig, config)}
	m.SchemaVersion = 2
	layer := describe("application/vnd.in-toto+json", statement)
	layer.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
	m.Layers = []v1.Descriptor{layer}
	tb.blob(statement).blob(config).blob(marshal(m))
	d := describe(v1.MediaTypeImageManifest, marshal(m))
	d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{
		"vnd.docker.reference.type": "attestation-manifest",
		dockerReference:             of.Digest.String(),
	}
	return d
}

// A layout as a directory is as good as one in an archive, and only what is
// wanted of it is read.
func TestLayout(t *testing.T) {
	tb := new(tarball)
	one := tagged(gzippedImage(tb, newTestImage(nil, layerTar("a", 50_000))), "1.0")
	index, _, _ := multiPlatform(tb)
	archive := layoutOf(tb, one, tagged(index, "2.0"))
	whole := mustConvertFrom(t, FromArchive(bytes.NewReader(archive), ""), Options{})
	dir := unpack(t, archive)
	if got := mustConvertFrom(t, FromLayout(dir, ""), Options{}); got.Root != whole.Root {
		t.Errorf("the root is %s from the directory and %s from the archive", got.Root, whole.Root)
	}
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(blobPath(index.Digest)))); err != nil {
		t.Fatal(err)
	}
	for _, src := range []Source{FromLayout(dir, "1.0"), FromArchive(bytes.NewReader(archive), "1.0")} {
		got := mustConvertFrom(t, src, Options{})
		if len(got.Images) != 1 || got.Images[0].Tag != "1.0" || got.Images[0].Digest != one.Digest {
			t.Errorf("1.0 is %v", got.Images)
		}
	}
	for name, test := range map[string]struct {
		src  Source
		want string
	}{
		"missing index":    {FromLayout(dir, ""), "is not in " + dir},
		"no such tag":      {FromLayout(dir, "3.0"), `is called "3.0": there is 1.0, 2.0`},
		"no layout":        {FromLayout(t.TempDir(), ""), "no OCI layout"},
		"no such name":     {FromArchive(bytes.NewReader(oldDocker(newTestImage([]string{"app:1"}))), "app:2"), "there is app:1"},
		"no unpulled name": {FromArchive(bytes.NewReader(layoutOf(new(tarball), tagged(one, "a/blobs:1"))), ""), "--name"},
	} {
		if _, err := convertFrom(t, test.src, Options{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want %q", name, err, test.want)
		}
	}
}

// The address is that of the content, whatever way this comes: nothing but the
// bytes says how they are cut.
func TestOneRootFromEverywhere(t *testing.T) {
	const name = "docker.io/team/app:1.0"
	layer, text := layerTar("a", 3<<19), bytes.Repeat([]byte("what was found\n"), 100_000)
	chart := slices.Concat(gzipped(text[:500_000]), gzipped(random("chart", 700_000)), gzipped(text))
	img := newTestImage([]string{name}, layer, layerTar("b", 10))
	artifact := func(tb *tarball, layers ...[]byte) v1.Descriptor {
		m := imageManifest([]byte("{}"), v1.MediaTypeEmptyJSON)
		tb.blob([]byte("{}"))
		for _, l := range layers {
			tb.blob(l)
			m.Layers = append(m.Layers, describe("application/vnd.example.part", l))
		}
		tb.blob(marshal(m))
		return describe(v1.MediaTypeImageManifest, marshal(m))
	}
	for kind, add := range map[string]func(tb *tarball) v1.Descriptor{
		"an image": func(tb *tarball) v1.Descriptor { return gzippedImage(tb, img) },
		"an index": func(tb *tarball) v1.Descriptor {
			index, _, _ := multiPlatform(tb)
			return index
		},
		"an index of plain layers": func(tb *tarball) v1.Descriptor {
			tb.blob(img.config).blob(img.layers[0]).blob(img.layers[1])
			list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{ociManifest(tb, img.config, v1.MediaTypeImageConfig, img.layers...)}}
			list.SchemaVersion = 2
			tb.blob(marshal(list))
			return describe(v1.MediaTypeImageIndex, marshal(list))
		},
		"zstd": func(tb *tarball) v1.Descriptor {
			z := zstandard(t, layer)
			m := imageManifest(newTestImage(nil, layer).config, v1.MediaTypeImageConfig, z)
			m.Layers[0].MediaType = v1.MediaTypeImageLayerZstd
			tb.blob(newTestImage(nil, layer).config).blob(z).blob(marshal(m))
			return describe(v1.MediaTypeImageManifest, marshal(m))
		},
		"a text":                func(tb *tarball) v1.Descriptor { return artifact(tb, text) },
		"a long document":       func(tb *tarball) v1.Descriptor { return artifact(tb, append([]byte("{"), slices.Repeat(text, 3)...)) },
		"random bytes":          func(tb *tarball) v1.Descriptor { return artifact(tb, random("model", 3<<19)) },
		"a tar":                 func(tb *tarball) v1.Descriptor { return artifact(tb, layer) },
		"gzip of several parts": func(tb *tarball) v1.Descriptor { return artifact(tb, chart) },
		"nearly nothing":        func(tb *tarball) v1.Descriptor { return artifact(tb, nil, make([]byte, 1024), []byte("\x1f\x8b")) },
	} {
		tb := new(tarball)
		top := add(tb)
		r := newTestRegistry(t, tb, map[string]v1.Descriptor{"1.0": top})
		archive := layoutOf(tb, tagged(top, name))
		for _, o := range []Options{{}, {Compression: Uncompressed, Recompress: true}} {
			want := mustConvertFrom(t, FromArchive(bytes.NewReader(archive), ""), o)
			if got := mustConvertFrom(t, FromLayout(unpack(t, archive), ""), o); got.Root != want.Root {
				t.Errorf("%s, %+v: the root is %s from the directory and %s from the archive", kind, o, got.Root, want.Root)
			}
			if got := mustConvertFrom(t, r.source(":1.0"), o); got.Root != want.Root {
				t.Errorf("%s, %+v: the root is %s from the registry and %s from the archive", kind, o, got.Root, want.Root)
			}
		}
	}
	partial, _ := containerdDocker(img)
	for kind, archive := range map[string][]byte{
		"new Docker": newDocker(img, newTestImage([]string{"team/other:2"}, layer)), "containerd": partial,
	} {
		want := mustConvertFrom(t, FromArchive(bytes.NewReader(archive), ""), Options{})
		if got := mustConvertFrom(t, FromLayout(unpack(t, archive), ""), Options{}); got.Root != want.Root {
			t.Errorf("%s: the root is %s from the directory and %s from the archive", kind, got.Root, want.Root)
		}
	}
}

// The names that Docker would take for the same are the same.
func TestNamedImageOfADockerArchive(t *testing.T) {
	archive := oldDocker(newTestImage([]string{"app:1.0", "app:latest"}, layerTar("a", 10)), newTestImage([]string{"app:2.0"}, layerTar("b", 10)))
	got := mustConvertFrom(t, FromArchive(bytes.NewReader(archive), "docker.io/library/app"), Options{})
	if len(got.Images) != 1 || got.Images[0].Tag != "latest" {
		t.Errorf("the images are %v", got.Images)
	}
}

func TestPlatform(t *testing.T) {
	tb := new(tarball)
	index, amd64, arm64 := multiPlatform(tb)
	signature := imageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte("[]"))
	signature.Subject = &index
	tb.blob([]byte("{}")).blob([]byte("[]")).blob(marshal(signature))
	archive := layoutOf(tb, tagged(index, "1.0"), describe(v1.MediaTypeImageManifest, marshal(signature)))
	for platform, want := range map[string]v1.Descriptor{"linux/amd64": amd64, "linux/x86_64": amd64, "linux/arm64": arm64, "linux/arm64/v8": arm64} {
		p, err := ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		got := mustConvertFrom(t, FromArchive(bytes.NewReader(archive), ""), Options{Platform: p})
		if len(got.Images) != 1 || got.Images[0].Digest != want.Digest || got.Images[0].Tag != "1.0" {
			t.Errorf("%s: the images are %v, want %s", platform, got.Images, want.Digest)
		}
		for _, other := range []v1.Descriptor{index, amd64, arm64} {
			if _, err := got.manifest(t, other.Digest.String()); (err == nil) != (other.Digest == want.Digest) {
				t.Errorf("%s: manifest %s: %v", platform, other.Digest, err)
			}
		}
	}
	windows := &Platform{OS: "windows", Architecture: "amd64"}
	for _, archive := range [][]byte{archive, oldDocker(newTestImage([]string{"app:1"}, layerTar("a", 10)))} {
		if _, err := convertFrom(t, FromArchive(bytes.NewReader(archive), ""), Options{Platform: windows}); err == nil || !strings.Contains(err.Error(), "linux/amd64") {
			t.Errorf("the error is %v", err)
		}
	}
	for _, s := range []string{"", "linux", "linux/", "/amd64", "a/b/c/d"} {
		if p, err := ParsePlatform(s); err == nil {
			t.Errorf("%q is the platform %s", s, p)
		}
	}
	if arm := (Platform{"linux", "arm", ""}); arm.is(Platform{"linux", "arm", "v6"}) || !arm.is(Platform{"linux", "arm", "v7"}) {
		t.Error("arm is v7")
	}
}

// An index may name anything, a manifest may have its contents in it, and what
// was attested is kept.
func TestWhatIndexesName(t *testing.T) {
	tb := new(tarball)
	index, amd64, arm64 := multiPlatform(tb)
	document := []byte("<xml/> and no manifest")
	manifest := imageManifest([]byte("{}"), v1.MediaTypeEmptyJSON)
	manifest.Config.Data = []byte("{}")
	manifest.ArtifactType = "application/vnd.example"
	d := describe("application/vnd.example.document", document)
	list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d, index, describe(v1.MediaTypeImageManifest, marshal(manifest))}}
	list.SchemaVersion = 2
	tb.blob(document).blob(marshal(manifest)).blob(marshal(list))
	top := describe(v1.MediaTypeImageIndex, marshal(list))
	got := mustConvertFrom(t, FromArchive(bytes.NewReader(layoutOf(tb, tagged(top, "1.0"), d)), ""), Options{})
	for _, m := range []v1.Descriptor{top, index, amd64, arm64, attestation(tb, amd64), list.Manifests[2]} {
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

// Blobs and manifests go by whichever digest whoever wrote them chose, and
// manifests by their sha256 too, which is what a registry calls them.
func TestOtherDigests(t *testing.T) {
	layer := gzipped(layerTar("a", 50_000))
	strong := func(mediaType string, data []byte) v1.Descriptor {
		d := describe(mediaType, data)
		d.Digest = digest.SHA512.FromBytes(data)
		return d
	}
	img := newTestImage(nil, layerTar("a", 50_000))
	fields := v1.Image{}
	unmarshal(t, img.config, &fields)
	fields.RootFS.DiffIDs = []digest.Digest{digest.SHA512.FromBytes(img.layers[0])}
	config := marshal(fields)
	m := imageManifest(config, v1.MediaTypeImageConfig, layer)
	m.Config, m.Layers[0] = strong(v1.MediaTypeImageConfig, config), strong(v1.MediaTypeImageLayerGzip, layer)
	top := tagged(strong(v1.MediaTypeImageManifest, marshal(m)), "1.0")
	archive := func(layer []byte) []byte {
		tb := new(tarball).file(blobPath(m.Config.Digest), config).file(blobPath(m.Layers[0].Digest), layer)
		return layoutOf(tb.file(blobPath(top.Digest), marshal(m)), top)
	}
	for name, src := range map[string]Source{"archive": FromArchive(bytes.NewReader(archive(layer)), ""), "layout": FromLayout(unpack(t, archive(layer)), "")} {
		got := mustConvertFrom(t, src, Options{})
		for _, reference := range []digest.Digest{top.Digest, digest.FromBytes(marshal(m))} {
			if found := got.mustHave(t, reference.String()); !bytes.Equal(found.Data, marshal(m)) {
				t.Errorf("%s: %s is another manifest", name, reference)
			}
		}
		if blob, err := got.blob(t, m.Layers[0].Digest); err != nil || !bytes.Equal(blob, layer) {
			t.Errorf("%s: the layer is %d bytes, %v", name, len(blob), err)
		}
	}
	tb := new(tarball).blob(layer)
	var manifests []v1.Descriptor
	for _, by := range []digest.Algorithm{digest.SHA384, digest.SHA512, digest.SHA256} {
		fields.RootFS.DiffIDs = []digest.Digest{by.FromBytes(img.layers[0])}
		manifests = append(manifests, tagged(ociManifest(tb.blob(marshal(fields)), marshal(fields), v1.MediaTypeImageConfig, layer), by.String()))
	}
	if got := mustConvertFrom(t, FromArchive(bytes.NewReader(layoutOf(tb, manifests...)), ""), Options{}); len(got.Images) != len(manifests) {
		t.Errorf("one layer by three digests: %v", got.Images)
	}
	other := slices.Clone(layer)
	other[len(other)-1] ^= 1
	if _, err := convertFrom(t, FromArchive(bytes.NewReader(archive(other)), ""), Options{}); err == nil || !strings.Contains(err.Error(), "has the digest") {
		t.Errorf("a layer that lies: %v", err)
	}
}

// Layers that not everybody may distribute are kept where they are, and missing
// without harm where they are not.
func TestForeignLayers(t *testing.T) {
	base, own := layerTar("windows", 50_000), layerTar("own", 1000)
	img := newTestImage(nil, base, own)
	m := imageManifest(img.config, v1.MediaTypeImageConfig, gzipped(base), gzipped(own))
	m.Layers[0].MediaType = layout.DockerForeignLayer + ".gzip"
	m.Layers[0].URLs = []string{"https://base.example/layer"}
	for name, there := range map[string]bool{"there": true, "not there": false} {
		tb := new(tarball).blob(img.config).blob(gzipped(own)).blob(marshal(m))
		if there {
			tb.blob(gzipped(base))
		}
		archive := layoutOf(tb, tagged(describe(v1.MediaTypeImageManifest, marshal(m)), "1.0"))
		got := mustConvertFrom(t, FromArchive(bytes.NewReader(archive), ""), Options{})
		if found := got.mustHave(t, "1.0"); !bytes.Equal(found.Data, marshal(m)) {
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

// Of entries that are named the same, the last is the one, and the others leave
// nothing.
func TestEntriesNamedTheSame(t *testing.T) {
	img := newTestImage([]string{"app:1.0"}, layerTar("a", 10))
	want, _ := convert(t, oldDocker(img))
	tb := new(tarball)
	for i := range 10_000 {
		tb.file("l.tar", fmt.Append(nil, i)).file(dockerManifests, []byte("[]"))
	}
	list := []dockerEntry{{Config: "c.json", RepoTags: img.repoTags, Layers: []string{"l.tar"}}}
	archive := tb.file("c.json", img.config).file("l.tar", img.layers[0]).file(dockerManifests, marshal(list)).close()
	dst := &checker{dir: t.TempDir()}
	got, err := Convert(t.Context(), FromArchive(bytes.NewReader(archive), ""), dst, Options{})
	if err != nil || got.Root != want.Root || dst.wrong != "" {
		t.Errorf("the root is %v, want %s: %v, %s", got, want.Root, err, dst.wrong)
	}
	if left := files(t, dst.dir); len(left) > 10 {
		t.Errorf("%d files are left", len(left))
	}
}

// No document is read that is too long to be one, wherever it stands.
func TestLongDocuments(t *testing.T) {
	long := append(bytes.Repeat([]byte(" "), layout.MaxManifest), "{}"...)
	endless := bytes.Repeat([]byte(" "), 100<<20)
	d := describe(v1.MediaTypeImageManifest, long)
	config := describe(v1.MediaTypeImageConfig, long)
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config}
	m.SchemaVersion = 2
	list := marshal([]dockerEntry{{Config: "c.json"}})
	for name, archive := range map[string][]byte{
		"manifest.json": new(tarball).file(dockerManifests, endless).close(),
		"index.json":    new(tarball).file(ociIndex, endless).close(),
		"manifest":      layoutOf(new(tarball).blob(long), d),
		"config":        layoutOf(new(tarball).blob(long).blob(marshal(m)), describe(m.MediaType, marshal(m))),
		"Docker config": new(tarball).file("c.json", long).file(dockerManifests, list).close(),
	} {
		if _, err := convertFrom(t, FromArchive(bytes.NewReader(archive), ""), Options{}); err == nil || !strings.Contains(err.Error(), "4194304") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
