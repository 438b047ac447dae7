package inspect

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// files are those of an image's directory, by path.
type files map[string][]byte

func (f files) blob(mediaType string, data []byte) v1.Descriptor {
	d := testimage.Describe(mediaType, data)
	f[layout.BlobPath("app", d.Digest)] = data
	return d
}

func (f files) manifest(mediaType string, m any, tags ...string) v1.Descriptor {
	data := testimage.Marshal(m)
	d := testimage.Describe(mediaType, data)
	for _, name := range append(tags, d.Digest.String()) {
		f[layout.ManifestPath("app", name)] = data
	}
	return d
}

// image adds an image for linux/arch with one layer.
func (f files) image(arch, layer string, tags ...string) v1.Descriptor {
	config := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: arch}}
	config.RootFS.DiffIDs = []digest.Digest{digest.FromString(layer)}
	m := v1.Manifest{
		MediaType: v1.MediaTypeImageManifest,
		Config:    f.blob(v1.MediaTypeImageConfig, testimage.Marshal(config)),
		Layers:    []v1.Descriptor{f.blob(v1.MediaTypeImageLayer, []byte(layer))},
	}
	m.SchemaVersion = 2
	return f.manifest(v1.MediaTypeImageManifest, m, tags...)
}

func (f files) index(tag string, of ...v1.Descriptor) {
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: of}
	index.SchemaVersion = 2
	f.manifest(v1.MediaTypeImageIndex, index, tag)
}

func inspectFiles(t *testing.T, f files, s origin.Selection) *Inspection {
	t.Helper()
	from, root := teststore.Of(t, f)
	i, err := Inspect(t.Context(), from, root, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// An image is listed once with all of its tags. Its platform is that of the index, or
// else that of its config.
func TestTagsOfOneImageAreListedTogether(t *testing.T) {
	f := files{}
	d := f.image("riscv64", "layer", "v1", "v2")
	i := inspectFiles(t, f, origin.Selection{})
	if len(i.Images) != 1 || !slices.Equal(i.Images[0].Tags, []string{"v1", "v2"}) || i.Images[0].Digest != d.Digest {
		t.Fatalf("images are %+v", i.Images)
	}
	img := i.Images[0]
	if len(img.Manifests) != 1 || img.Manifests[0].Platform == nil || img.Manifests[0].Platform.Architecture != "riscv64" {
		t.Errorf("manifests are %+v", img.Manifests)
	}
	if config := img.Manifests[0].Config; config == nil || img.Size != config.Size+int64(len("layer")) || img.Leaves.Leaves != 2 || img.Shared != nil {
		t.Errorf("the image has %+v", img.Leaves)
	}
}

// The manifests of an index are shown in its order, each blob counts once, and missing
// manifests are listed as missing.
func TestIndexShowsWhatIsMissing(t *testing.T) {
	f := files{}
	one, two := f.image("amd64", "shared layer"), f.image("arm64", "shared layer")
	one.Platform, two.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}, &v1.Platform{OS: "linux", Architecture: "arm64"}
	missing := testimage.Describe(v1.MediaTypeImageManifest, []byte("elsewhere"))
	missing.Platform = &v1.Platform{OS: "linux", Architecture: "s390x"}
	f.index("all", one, missing, two)
	img := inspectFiles(t, f, origin.Selection{Name: "app", Reference: "all"}).Images[0]
	if len(img.Manifests) != 2 || img.Manifests[0].Digest != one.Digest || img.Manifests[1].Digest != two.Digest {
		t.Errorf("manifests are %+v", img.Manifests)
	}
	if len(img.Missing) != 1 || img.Missing[0].Digest != missing.Digest {
		t.Errorf("missing are %+v", img.Missing)
	}
	if img.Leaves.Leaves != 3 {
		t.Errorf("two configs and one layer have %d leaves", img.Leaves.Leaves)
	}
}

// The entries of an index are followed by media type: a build cache lists blobs.
func TestIndexOfBlobsShowsItsBlobs(t *testing.T) {
	f := files{}
	cached := f.blob(v1.MediaTypeImageLayerGzip, []byte("cached"))
	gone := testimage.Describe(v1.MediaTypeImageLayerGzip, []byte("gone"))
	f.index("cache", cached, gone)
	img := inspectFiles(t, f, origin.Selection{}).Images[0]
	if len(img.Manifests) != 1 || len(img.Manifests[0].Layers) != 2 || img.Manifests[0].Layers[0].CID == "" || img.Manifests[0].Layers[1].CID != "" {
		t.Errorf("manifests are %+v", img.Manifests)
	}
	if len(img.Missing) != 1 || img.Missing[0].Digest != gone.Digest {
		t.Errorf("missing are %+v", img.Missing)
	}
}

// An image in a store is compared with the other images there, and not with itself.
// An image elsewhere is compared with all of them.
func TestSharedIsWhatOtherImagesHave(t *testing.T) {
	dir, car := t.TempDir(), filepath.Join(t.TempDir(), "app.car")
	both := testimage.Layer("both", 5000)
	convert := func(dst converter.Destination, layers ...[]byte) cid.Cid {
		t.Helper()
		archive := testimage.OldDocker(testimage.New([]string{"app:v1"}, layers...))
		result, err := converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, converter.Options{})
		if err := errors.Join(err, dst.Close()); err != nil {
			t.Fatal(err)
		}
		return result.Root
	}
	convert(teststore.To(t, dir), both, testimage.Layer("first", 5000))
	root := convert(teststore.To(t, dir), both, testimage.Layer("second", 5000))
	if other := convert(teststore.ToCAR(t, car), both, testimage.Layer("second", 5000)); other != root {
		t.Fatalf("the CAR file has the root %s, and the store %s", other, root)
	}
	for name, test := range map[string]struct {
		from    origin.Origin
		same    bool
		layers  []bool // whether each is shared
		storeIs string
	}{
		"in the store":  {teststore.From(t, dir), true, []bool{true, false}, dir},
		"in a CAR file": {teststore.FromCAR(t, car), false, []bool{true, true}, dir},
	} {
		i, err := Inspect(t.Context(), test.from, root, origin.Selection{}, &Comparison{Store: store.Open(dir), Same: test.same})
		if err != nil {
			t.Fatal(err)
		}
		layers := i.Images[0].Manifests[0].Layers
		for n, want := range test.layers {
			if got := layers[n].Shared.Leaves > 0; got != want {
				t.Errorf("%s: layer %d is shared: %v, want %v", name, n+1, got, want)
			}
		}
		if i.Store != test.storeIs {
			t.Errorf("%s: it is compared with %q", name, i.Store)
		}
	}
}

// The error for a selection without an image names the images that there are, or says
// that there is one in another program's layout.
func TestNothingSelectedSaysWhatThereIs(t *testing.T) {
	f := files{}
	f.image("amd64", "layer", "v1")
	from, root := teststore.Of(t, f)
	_, err := Inspect(t.Context(), from, root, origin.Selection{Name: "app", Reference: "v2"}, nil)
	if err == nil || !strings.Contains(err.Error(), "there is app:v1") {
		t.Errorf("the error is %v", err)
	}
	m := testimage.Marshal(testimage.ImageManifest([]byte("{}"), v1.MediaTypeImageConfig))
	index := v1.Index{Manifests: []v1.Descriptor{testimage.Describe(v1.MediaTypeImageManifest, m)}}
	index.SchemaVersion = 2
	foreign, root := teststore.Of(t, map[string][]byte{
		"index.json": testimage.Marshal(index), "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), testimage.BlobName(m): m,
	})
	if _, err := Inspect(t.Context(), foreign, root, origin.Selection{}, nil); !errors.Is(err, origin.ErrForeign) {
		t.Errorf("of an OCI layout, the error is %v", err)
	}
}
