package converter

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
)

// platformImage adds an image for a platform, and returns its descriptor.
func platformImage(tb *testimage.Tarball, p v1.Platform, layer string) v1.Descriptor {
	plain := testimage.Layer(layer, 1000)
	config := testimage.Marshal(v1.Image{Platform: p, RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(plain)}}})
	tb.Blob(config)
	d := testimage.OCIManifest(tb, config, v1.MediaTypeImageConfig, testimage.Gzipped(plain))
	tb.Blob(testimage.Gzipped(plain))
	return d
}

func parsePlatform(t *testing.T, s string) *platform.Platform {
	t.Helper()
	p, err := platform.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func archiveOf(tb *testimage.Tarball, top ...v1.Descriptor) source.Source {
	return source.FromArchive(bytes.NewReader(testimage.LayoutOf(tb, top...)))
}

func TestImagesAreChosenByDigestAndPosition(t *testing.T) {
	layout := func() (*testimage.Tarball, []v1.Descriptor) {
		tb := new(testimage.Tarball)
		index, amd64, _ := testimage.MultiPlatform(tb)
		one := platformImage(tb, v1.Platform{OS: "linux", Architecture: "amd64"}, "one")
		return tb, []v1.Descriptor{testimage.Tagged(one, "1.0"), testimage.Tagged(index, "2.0"), amd64}
	}
	_, all := layout()
	one, index, amd64 := all[0], all[1], all[2]
	for wanted, want := range map[string]v1.Descriptor{
		"@0": one, "@1": index, one.Digest.String(): one, "@" + index.Digest.String(): index,
		amd64.Digest.String(): amd64, // which only the index names
		"2.0":                 index,
	} {
		tb, all := layout()
		got := mustConvertFrom(t, archiveOf(tb, all[0], all[1]), Options{Image: wanted})
		if len(got.Images) != 1 || got.Images[0].Digest != want.Digest {
			t.Errorf("%s: the images are %v, want %s", wanted, got.Images, want.Digest)
		}
	}
	for _, wanted := range []string{"@2", digest.FromString("other").String(), "3.0"} {
		tb, all := layout()
		_, err := convertFrom(t, archiveOf(tb, all[0], all[1]), Options{Image: wanted})
		if none, ok := errors.AsType[*NoImageError](err); !ok || len(none.There) != 2 {
			t.Errorf("%s: the error is %v", wanted, err)
		}
	}
	a, b := testimage.New([]string{"a:1"}, testimage.Layer("a", 10)), testimage.New(nil, testimage.Layer("b", 10))
	for _, wanted := range []string{"@1", digest.FromBytes(b.Config).String()} {
		got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(testimage.OldDocker(a, b))), Options{Image: wanted})
		if len(got.Images) != 1 || got.Images[0].Name != "" {
			t.Errorf("%s: the images are %v", wanted, got.Images)
		}
	}
}

// Some programs list the images of several platforms under one name, without an index.
func TestPlatformsOfOneNameBecomeAnIndex(t *testing.T) {
	layout := func(name string, reverse bool) (source.Source, map[string]digest.Digest) {
		tb := new(testimage.Tarball)
		all := map[string]digest.Digest{}
		var top []v1.Descriptor
		for _, arch := range []string{"amd64", "arm64"} {
			d := platformImage(tb, v1.Platform{OS: "linux", Architecture: arch}, arch)
			all["linux/"+arch] = d.Digest
			if name != "" {
				d = testimage.Tagged(d, name)
			}
			top = append(top, d)
		}
		if reverse {
			top[0], top[1] = top[1], top[0]
		}
		return archiveOf(tb, top...), all
	}
	src, all := layout("v1", false)
	both := mustConvertFrom(t, src, Options{Name: "app"})
	if len(both.Images) != 1 || both.Images[0].MediaType != v1.MediaTypeImageIndex {
		t.Fatalf("the images are %v", both.Images)
	}
	src, _ = layout("v1", true)
	if again := mustConvertFrom(t, src, Options{Name: "app"}); again.Root != both.Root {
		t.Error("the order of the entries changes the address")
	}
	src, _ = layout("", false)
	if got := mustConvertFrom(t, src, Options{Name: "app", Tag: "v1"}); got.Root != both.Root {
		t.Errorf("without names of their own, the images are %v", got.Images)
	}
	src, _ = layout("", false)
	if got := mustConvertFrom(t, src, Options{}); len(got.Images) != 2 {
		t.Errorf("without any name, the images are %v", got.Images)
	}
	for name, want := range all {
		src, _ := layout("v1", name == "linux/amd64")
		got := mustConvertFrom(t, src, Options{Name: "app", Platform: parsePlatform(t, name)})
		if len(got.Images) != 1 || got.Images[0].Digest != want {
			t.Errorf("%s: the images are %v, want %s", name, got.Images, want)
		}
	}
	src, _ = layout("v1", false)
	if _, err := convertFrom(t, src, Options{Platform: parsePlatform(t, "linux/s390x")}); err == nil || !strings.Contains(err.Error(), "there is linux/amd64, linux/arm64") {
		t.Errorf("the error is %v", err)
	}
}

func TestVersionsOfWindowsAreNotGuessed(t *testing.T) {
	layout := func() (source.Source, map[string]digest.Digest) {
		tb := new(testimage.Tarball)
		index := v1.Index{MediaType: v1.MediaTypeImageIndex}
		index.SchemaVersion = 2
		all := map[string]digest.Digest{}
		for _, version := range []string{"10.0.17763.1", "10.0.20348.2"} {
			p := v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: version}
			d := platformImage(tb, p, version)
			d.Platform = &p
			index.Manifests = append(index.Manifests, d)
			all[version] = d.Digest
		}
		tb.Blob(testimage.Marshal(index))
		return archiveOf(tb, testimage.Tagged(testimage.Describe(v1.MediaTypeImageIndex, testimage.Marshal(index)), "v1")), all
	}
	src, _ := layout()
	_, err := convertFrom(t, src, Options{Platform: parsePlatform(t, "windows/amd64")})
	if err == nil || !strings.Contains(err.Error(), "windows(10.0.17763.1)/amd64, windows(10.0.20348.2)/amd64") {
		t.Errorf("the error is %v", err)
	}
	for name, version := range map[string]string{"windows(10.0.20348)/amd64": "10.0.20348.2", "windows/amd64:10.0.17763.1": "10.0.17763.1"} {
		src, all := layout()
		got := mustConvertFrom(t, src, Options{Platform: parsePlatform(t, name)})
		if len(got.Images) != 1 || got.Images[0].Digest != all[version] {
			t.Errorf("%s: the images are %v", name, got.Images)
		}
	}
}

func TestSignaturesOfCosignKeepTheirTags(t *testing.T) {
	layout := func() (source.Source, string) {
		tb := new(testimage.Tarball)
		image := platformImage(tb, v1.Platform{OS: "linux", Architecture: "amd64"}, "a")
		m := testimage.Marshal(testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte("signature")))
		tb.Blob([]byte("{}")).Blob([]byte("signature")).Blob(m)
		signature := testimage.Describe(v1.MediaTypeImageManifest, m)
		image.Annotations = map[string]string{"kind": "dev.cosignproject.cosign/image"}
		signature.Annotations = map[string]string{"kind": "dev.cosignproject.cosign/sigs"}
		return archiveOf(tb, image, signature), "sha256-" + image.Digest.Encoded() + ".sig"
	}
	for _, o := range []Options{{}, {Name: "app", Tag: "v1"}, {Name: "app", Platform: parsePlatform(t, "linux/amd64")}} {
		src, tag := layout()
		got := mustConvertFrom(t, src, o)
		if len(got.Images) != 2 || got.Images[0].Name != o.Name || got.Images[0].Tag != o.Tag {
			t.Errorf("%+v: the images are %v", o, got.Images)
		}
		got.mustHave(t, tag)
	}
	src, tag := layout()
	got := mustConvertFrom(t, src, Options{Recompress: true})
	if _, err := got.manifest(t, tag); len(got.Images) != 1 || err == nil || !strings.Contains(got.said, "left out") {
		t.Errorf("recompressed, the images are %v, and it said %q", got.Images, got.said)
	}
}

// manifest.json counts where index.json contradicts its own archive.
func TestDockerListCountsWhereTheIndexDoesNotFit(t *testing.T) {
	img := testimage.New([]string{"app:1"}, testimage.Layer("a", 1000))
	want := mustConvertFrom(t, source.FromArchive(bytes.NewReader(testimage.OldDocker(img))), Options{})
	list := testimage.Marshal([]ocilayout.DockerEntry{{Config: testimage.BlobName(img.Config), RepoTags: img.RepoTags, Layers: []string{testimage.BlobName(img.Layers[0])}}})
	archive := func(layers ...[]byte) []byte {
		tb := new(testimage.Tarball)
		m := testimage.OCIManifest(tb, img.Config, v1.MediaTypeImageConfig, layers...)
		tb.Blob(img.Config).Blob(img.Layers[0]).File(ocilayout.DockerList, list)
		return testimage.LayoutOf(tb, testimage.Tagged(m, "app:1"))
	}
	got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive())), Options{})
	if got.Root != want.Root || !strings.Contains(got.said, "index.json does not fit") {
		t.Errorf("the root is %s, want %s, and it said %q", got.Root, want.Root, got.said)
	}
	fits := archive(img.Layers[0])
	if got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(fits)), Options{}); got.said != "" {
		t.Errorf("of an index that fits, it said %q", got.said)
	}
	if got := mustConvertFrom(t, source.FromDockerArchive(bytes.NewReader(archive())), Options{}); got.Root != want.Root || got.said != "" {
		t.Errorf("as Docker's archive, the root is %s, and it said %q", got.Root, got.said)
	}
}

// The config decides what a manifest is, whatever its media types say.
func TestConfigDecidesWhatAnImageIs(t *testing.T) {
	layer := testimage.Layer("a", 1000)
	right := digest.FromBytes(layer).String()
	wrong := digest.FromString("other").String()
	for _, test := range []struct {
		configType, config, layerType string
		refused                       bool
	}{
		{v1.MediaTypeImageConfig, `{}`, v1.MediaTypeImageLayerGzip, false},
		{"application/octet-stream", `{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["` + right + `"]}}`, v1.MediaTypeImageLayerGzip, false},
		{"application/octet-stream", `{"rootfs":{"diff_ids":["` + wrong + `"]}}`, v1.MediaTypeImageLayerGzip, true},
		{v1.MediaTypeImageConfig, `{"rootfs":{"diff_ids":["` + wrong + `","` + right + `"]}}`, v1.MediaTypeImageLayerGzip, true},
		{v1.MediaTypeImageConfig, `{"rootfs":{"diff_ids":["` + wrong + `"]}}`, "application/vnd.example.encrypted", false},
	} {
		tb := new(testimage.Tarball)
		m := testimage.ImageManifest([]byte(test.config), test.configType, testimage.Gzipped(layer))
		m.Layers[0].MediaType = test.layerType
		tb.Blob([]byte(test.config)).Blob(testimage.Gzipped(layer)).Blob(testimage.Marshal(m))
		d := testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m))
		got, err := convertFrom(t, archiveOf(tb, testimage.Tagged(d, "1")), Options{})
		if (err != nil) != test.refused {
			t.Errorf("%+v: %v", test, err)
		}
		if err == nil && got.Images[0].Digest != d.Digest {
			t.Errorf("%+v: the manifest is not kept to the byte", test)
		}
	}
}
