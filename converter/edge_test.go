package converter

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// ociManifest puts a manifest into the archive, without what it speaks of, and
// describes it.
func ociManifest(tb *tarball, config []byte, mediaType string, layers ...[]byte) v1.Descriptor {
	m := marshal(imageManifest(config, mediaType, layers...))
	tb.blob(m)
	return describe(v1.MediaTypeImageManifest, m)
}

// indexArchive is an archive of one image whose index names the given manifests.
func indexArchive(tb *tarball, manifests ...v1.Descriptor) []byte {
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: manifests}
	index.SchemaVersion = 2
	top := v1.Index{Manifests: tb.named(v1.MediaTypeImageIndex, marshal(index), []string{"app:1.0"})}
	return tb.file(ociIndex, marshal(top)).close()
}

// A platform may be left out, and a part of one may not.
func TestMissingParts(t *testing.T) {
	one, two := gzipped(layerTar("a", 1000)), gzipped(layerTar("b", 1000))
	config := newTestImage(nil, layerTar("a", 1000), layerTar("b", 1000)).config
	attested := marshal(map[string]any{})
	for name, test := range map[string]struct {
		blobs [][]byte // of the image
		other bool     // whether another platform is there
		want  string   // in the error
	}{
		"all":                        {[][]byte{config, one, two}, false, ""},
		"a layer":                    {[][]byte{config, one}, true, "layer of manifest"},
		"all layers":                 {[][]byte{config}, true, ""},
		"config":                     {[][]byte{one, two}, true, ""},
		"everything":                 {nil, true, ""},
		"everything, and other ones": {nil, false, "all that index"},
	} {
		tb := new(tarball)
		for _, b := range test.blobs {
			tb.blob(b)
		}
		image := ociManifest(tb, config, v1.MediaTypeImageConfig, one, two)
		attestation := ociManifest(tb.blob(attested), attested, v1.MediaTypeEmptyJSON)
		attestation.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		manifests := []v1.Descriptor{image, attestation}
		if test.other {
			img := newTestImage(nil, layerTar("c", 10))
			manifests = append(manifests, ociManifest(tb.blob(img.config).blob(gzipped(img.layers[0])), img.config, v1.MediaTypeImageConfig, gzipped(img.layers[0])))
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
		img := newTestImage([]string{"app:1.0"}, layers...)
		old, s := convert(t, oldDocker(img))
		checkImage(t, s, old, img)
		if recent, _ := convert(t, newDocker(img)); recent.Root != old.Root {
			t.Errorf("%s: the root is %s from an old archive and %s from a recent one", name, old.Root, recent.Root)
		}
	}
}

// What is no image is not held to an image's rules.
func TestArtifact(t *testing.T) {
	empty := []byte("{}")
	tb := new(tarball).blob(empty).blob(layerTar("a", 10))
	artifact := ociManifest(tb, empty, v1.MediaTypeEmptyJSON, layerTar("a", 10))
	artifact.Annotations = map[string]string{containerdName: "docker.io/library/app:1.0"}
	result, _ := convert(t, tb.file(ociIndex, marshal(v1.Index{Manifests: []v1.Descriptor{artifact}})).close())
	if result.Images[0].Digest != artifact.Digest {
		t.Errorf("the artifact is %s, and was %s", result.Images[0].Digest, artifact.Digest)
	}
}

func TestLayersOfADockerArchiveMayBeCompressed(t *testing.T) {
	layer := layerTar("a", 1000)
	img := newTestImage([]string{"app:1.0"}, layer)
	for mediaType, compressed := range map[string][]byte{
		layout.DockerLayerGzip: gzipped(layer),
		layout.DockerLayerZstd: zstandard(t, layer),
	} {
		list := marshal([]dockerEntry{{Config: "c.json", RepoTags: img.repoTags, Layers: []string{"l.tar"}}})
		result, s := convert(t, new(tarball).file("c.json", img.config).file("l.tar", compressed).file(dockerManifests, list).close())
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

func zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(data, nil)
}

// An archive may be compressed as a whole.
func TestCompressedArchive(t *testing.T) {
	archive := oldDocker(newTestImage([]string{"app:1.0"}, layerTar("a", 100_000)))
	want, _ := convert(t, archive)
	for name, compressed := range map[string][]byte{"gzip": gzipped(archive), "zstd": zstandard(t, archive)} {
		if got, _ := convert(t, compressed); got.Root != want.Root {
			t.Errorf("%s: the root is %s, want %s", name, got.Root, want.Root)
		}
		if _, err := tryConvert(t, t.TempDir(), bytes.NewReader(compressed[:len(compressed)-5])); err == nil {
			t.Errorf("%s: the archive is accepted without its end", name)
		}
	}
}

// An archive is whole only if it says where it ends, and is read to where its
// writer ends.
func TestEndOfArchive(t *testing.T) {
	archive := oldDocker(newTestImage([]string{"app:1.0"}, layerTar("a", 1000)))
	if _, err := tryConvert(t, t.TempDir(), bytes.NewReader(archive[:len(archive)-1024])); err == nil || !strings.Contains(err.Error(), "ends early") {
		t.Errorf("without an end marker: %v", err)
	}
	rest := bytes.NewReader(slices.Concat(archive, make([]byte, 4<<20)))
	if _, err := tryConvert(t, t.TempDir(), rest); err != nil || rest.Len() > 0 {
		t.Errorf("%d bytes are not read, %v", rest.Len(), err)
	}
}

// No archive makes us remember any number of entries.
func TestTooManyEntries(t *testing.T) {
	full := func() *archive {
		a := newArchive(&workspace{ctx: t.Context(), dir: t.TempDir(), profile: unixfs.V1}, t.Logf, want{})
		for i := range maxEntries {
			a.links[strconv.Itoa(i)] = "x"
		}
		return a
	}
	for name, test := range map[string]struct {
		add  *tarball
		want string
	}{
		"a file":      {new(tarball).file("more", nil), `reading "more" from the archive: more than 65536 files and links`},
		"a link":      {new(tarball).symlink("more", "x"), `reading "more" from the archive: more than 65536 files and links`},
		"one again":   {new(tarball).file("0", nil).symlink("1", "y").file(dockerManifests, []byte("[]")), ""},
		"a long path": {new(tarball).file(strings.Repeat("long/", maxPath), nil), "a path of more than 1024 bytes"},
		"a long link": {new(tarball).symlink("0", strings.Repeat("long/", maxPath)), "a path of more than 1024 bytes"},
	} {
		err := full().readTar(bytes.NewReader(test.add.close()))
		if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || len(err.Error()) > 500) {
			t.Errorf("%s: the error is %v, want %q", name, err, test.want)
		}
	}
}

// What a disk gives back that has gone bad does not get into an image.
func TestReadAgain(t *testing.T) {
	layer, other := layerTar("a", 10_000), layerTar("b", 10_000)
	for name, test := range map[string]struct {
		came []byte
		then []byte // what the file has later
		form func(*content) (*Blob, error)
	}{
		"as it came, from members": {layer, gzipped(other), (*content).asIs},
		"as members, from the tar": {make([]byte, 1024), other, (*content).asLayer},
	} {
		ws := &workspace{ctx: t.Context(), dir: t.TempDir(), profile: unixfs.V1}
		c := readLayer(t, ws, test.came)
		if err := os.WriteFile(cmp.Or(c.kept, c.aligned).Path, test.then, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := test.form(c); err == nil || !strings.Contains(err.Error(), "when read again") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if files, _ := os.ReadDir(ws.dir); len(files) != 1 {
			t.Errorf("%s: there are %d files, want what came alone", name, len(files))
		}
	}
}

func TestUntaggedTwice(t *testing.T) {
	img := newTestImage(nil, layerTar("a", 10))
	if result, _ := convert(t, oldDocker(img, img)); len(result.Images) != 1 {
		t.Errorf("there are %d images, want 1", len(result.Images))
	}
}

func TestEmptyDiffID(t *testing.T) {
	config := marshal(v1.Image{RootFS: v1.RootFS{DiffIDs: []digest.Digest{""}}})
	list := marshal([]dockerEntry{{Config: "c.json", Layers: []string{"l.tar"}}})
	archive := new(tarball).file("c.json", config).file("l.tar", []byte("\x1f\x8b garbage")).file(dockerManifests, list).close()
	if _, err := tryConvert(t, t.TempDir(), bytes.NewReader(archive)); err == nil || !strings.Contains(err.Error(), "diff_id") {
		t.Errorf("the error is %v", err)
	}
}

// One config that many images name is read once.
func TestManyImagesOfOneConfig(t *testing.T) {
	img := newTestImage(nil, layerTar("a", 10))
	config := slices.Concat(img.config, bytes.Repeat([]byte(" "), 3<<20))
	entry := dockerEntry{Config: "c.json", Layers: []string{"l.tar"}}
	archive := new(tarball).file("c.json", config).file("l.tar", img.layers[0]).file(dockerManifests, marshal(slices.Repeat([]dockerEntry{entry}, 10_000))).close()
	result, _ := convert(t, archive)
	if len(result.Images) != 1 {
		t.Errorf("there are %d images, want 1", len(result.Images))
	}
}

// A cancelled conversion ends where it is, also after the archive was read.
func TestCancelledWhileRewriting(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	ws := &workspace{ctx: ctx, dir: t.TempDir(), profile: unixfs.V1}
	align := func(r io.Reader) (*Blob, error) { return ws.align(r, Gzip) }
	for name, f := range map[string]func(io.Reader) (*Blob, error){"keep": ws.keep, "align": align} {
		if _, err := f(bytes.NewReader(make([]byte, 1<<20))); err != io.ErrClosedPipe {
			t.Errorf("%s: %v, want %v", name, err, io.ErrClosedPipe)
		}
	}
}
