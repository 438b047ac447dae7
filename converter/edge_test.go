package converter

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// indexArchive is an archive of one image whose index names the given manifests.
func indexArchive(tb *testimage.Tarball, manifests ...v1.Descriptor) []byte {
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: manifests}
	index.SchemaVersion = 2
	top := v1.Index{Manifests: tb.Named(v1.MediaTypeImageIndex, testimage.Marshal(index), []string{"app:1.0"})}
	return tb.File(ocilayout.Index, testimage.Marshal(top)).Close()
}

// A platform of an index may be missing as a whole, but not in part.
func TestMissingParts(t *testing.T) {
	one, two := testimage.Gzipped(testimage.Layer("a", 1000)), testimage.Gzipped(testimage.Layer("b", 1000))
	config := testimage.New(nil, testimage.Layer("a", 1000), testimage.Layer("b", 1000)).Config
	attested := testimage.Marshal(map[string]any{})
	for name, test := range map[string]struct {
		blobs [][]byte // of the image
		other bool     // whether another platform is present
		want  string   // in the error
	}{
		"all":                        {[][]byte{config, one, two}, false, ""},
		"a layer":                    {[][]byte{config, one}, true, "layer of manifest"},
		"all layers":                 {[][]byte{config}, true, ""},
		"config":                     {[][]byte{one, two}, true, ""},
		"everything":                 {nil, true, ""},
		"everything, and other ones": {nil, false, "all that index"},
	} {
		tb := new(testimage.Tarball)
		for _, b := range test.blobs {
			tb.Blob(b)
		}
		image := testimage.OCIManifest(tb, config, v1.MediaTypeImageConfig, one, two)
		attestation := testimage.OCIManifest(tb.Blob(attested), attested, v1.MediaTypeEmptyJSON)
		attestation.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		manifests := []v1.Descriptor{image, attestation}
		if test.other {
			img := testimage.New(nil, testimage.Layer("c", 10))
			manifests = append(manifests, testimage.OCIManifest(tb.Blob(img.Config).Blob(testimage.Gzipped(img.Layers[0])), img.Config, v1.MediaTypeImageConfig, testimage.Gzipped(img.Layers[0])))
		}
		_, err := tryConvert(t, t.TempDir(), bytes.NewReader(indexArchive(tb, manifests...)))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestLayersThatAreNearlyNothing(t *testing.T) {
	for name, layers := range map[string][][]byte{
		"no bytes":  {{}},
		"no files":  {make([]byte, 1024)},
		"no layers": {},
	} {
		img := testimage.New([]string{"app:1.0"}, layers...)
		old, s := convert(t, testimage.OldDocker(img))
		checkImage(t, s, old, img)
		if recent, _ := convert(t, testimage.NewDocker(img)); recent.Root != old.Root {
			t.Errorf("%s: the root is %s from an old archive and %s from a recent one", name, old.Root, recent.Root)
		}
	}
}

// An artifact need not follow the rules for images.
func TestArtifact(t *testing.T) {
	empty := []byte("{}")
	tb := new(testimage.Tarball).Blob(empty).Blob(testimage.Layer("a", 10))
	artifact := testimage.OCIManifest(tb, empty, v1.MediaTypeEmptyJSON, testimage.Layer("a", 10))
	artifact.Annotations = map[string]string{ocilayout.ContainerdName: "docker.io/library/app:1.0"}
	result, _ := convert(t, tb.File(ocilayout.Index, testimage.Marshal(v1.Index{Manifests: []v1.Descriptor{artifact}})).Close())
	if result.Images[0].Digest != artifact.Digest {
		t.Errorf("the artifact is %s, and was %s", result.Images[0].Digest, artifact.Digest)
	}
}

func TestLayersOfADockerArchiveMayBeCompressed(t *testing.T) {
	layer := testimage.Layer("a", 1000)
	img := testimage.New([]string{"app:1.0"}, layer)
	for mediaType, compressed := range map[string][]byte{
		layout.DockerLayerGzip: testimage.Gzipped(layer),
		layout.DockerLayerZstd: testimage.Zstandard(t, layer),
	} {
		list := testimage.Marshal([]ocilayout.DockerEntry{{Config: "c.json", RepoTags: img.RepoTags, Layers: []string{"l.tar"}}})
		result, s := convert(t, new(testimage.Tarball).File("c.json", img.Config).File("l.tar", compressed).File(ocilayout.DockerList, list).Close())
		at := layout.Image{Root: result.Root, Name: "app"}
		m, err := layout.FindManifest(t.Context(), s, at, layout.Latest)
		if err != nil {
			t.Fatal(err)
		}
		var manifest v1.Manifest
		unmarshal(t, m.Data, &manifest)
		if got := readBlob(t, s, at, manifest.Layers[0]); !bytes.Equal(got, compressed) || manifest.Layers[0].MediaType != mediaType {
			t.Errorf("the layer is %d bytes of %s, want %d of %s", len(got), manifest.Layers[0].MediaType, len(compressed), mediaType)
		}
	}
}

// An archive may be compressed as a whole.
func TestCompressedArchive(t *testing.T) {
	archive := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 100_000)))
	want, _ := convert(t, archive)
	for name, compressed := range map[string][]byte{"gzip": testimage.Gzipped(archive), "zstd": testimage.Zstandard(t, archive)} {
		if got, _ := convert(t, compressed); got.Root != want.Root {
			t.Errorf("%s: the root is %s, want %s", name, got.Root, want.Root)
		}
		if _, err := tryConvert(t, t.TempDir(), bytes.NewReader(compressed[:len(compressed)-5])); err == nil {
			t.Errorf("%s: the archive is accepted without its end", name)
		}
	}
}

// An archive must have an end mark, and is read to the end of the input.
func TestEndOfArchive(t *testing.T) {
	archive := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 1000)))
	if _, err := tryConvert(t, t.TempDir(), bytes.NewReader(archive[:len(archive)-1024])); err == nil || !strings.Contains(err.Error(), "ends early") {
		t.Errorf("without an end marker: %v", err)
	}
	rest := bytes.NewReader(slices.Concat(archive, make([]byte, 4<<20)))
	if _, err := tryConvert(t, t.TempDir(), rest); err != nil || rest.Len() > 0 {
		t.Errorf("%d bytes are not read, %v", rest.Len(), err)
	}
}

func TestUntaggedTwice(t *testing.T) {
	img := testimage.New(nil, testimage.Layer("a", 10))
	if result, _ := convert(t, testimage.OldDocker(img, img)); len(result.Images) != 1 {
		t.Errorf("there are %d images, want 1", len(result.Images))
	}
}

func TestEmptyDiffID(t *testing.T) {
	config := testimage.Marshal(v1.Image{RootFS: v1.RootFS{DiffIDs: []digest.Digest{""}}})
	list := testimage.Marshal([]ocilayout.DockerEntry{{Config: "c.json", Layers: []string{"l.tar"}}})
	archive := new(testimage.Tarball).File("c.json", config).File("l.tar", []byte("\x1f\x8b garbage")).File(ocilayout.DockerList, list).Close()
	if _, err := tryConvert(t, t.TempDir(), bytes.NewReader(archive)); err == nil || !strings.Contains(err.Error(), "diff_id") {
		t.Errorf("the error is %v", err)
	}
}

// One config that many images name is read once.
func TestManyImagesOfOneConfig(t *testing.T) {
	img := testimage.New(nil, testimage.Layer("a", 10))
	config := slices.Concat(img.Config, bytes.Repeat([]byte(" "), 3<<20))
	entry := ocilayout.DockerEntry{Config: "c.json", Layers: []string{"l.tar"}}
	archive := new(testimage.Tarball).File("c.json", config).File("l.tar", img.Layers[0]).File(ocilayout.DockerList, testimage.Marshal(slices.Repeat([]ocilayout.DockerEntry{entry}, 3000))).Close()
	result, _ := convert(t, archive)
	if len(result.Images) != 1 {
		t.Errorf("there are %d images, want 1", len(result.Images))
	}
}
