package converter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Recompressed, every archive of an image has the address of the classic one.
func TestRecompressedImageHasOneRoot(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 200_000), testimage.Layer("b", 1000))
	want, _ := convert(t, testimage.OldDocker(img))
	tb := new(testimage.Tarball)
	m := testimage.GzippedImage(tb, img)
	signature := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte("[]"))
	signature.Subject = &m
	tb.Blob([]byte("{}")).Blob([]byte("[]")).Blob(testimage.Marshal(signature))
	d := testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(signature))
	simple := testimage.Tagged(d, "sha256-"+m.Digest.Encoded()+".sig") // as cosign calls one
	archive := testimage.LayoutOf(tb, testimage.Tagged(m, "docker.io/library/app:1.0"), d, simple)
	got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{Recompress: true})
	if got.Root != want.Root {
		t.Errorf("the root is %s, want %s", got.Root, want.Root)
	}
	if strings.Count(got.said, "is left out: it is about "+m.Digest.String()) != 2 {
		t.Errorf("said %q", got.said)
	}
	kept := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{})
	kept.mustHave(t, m.Digest.String())
	if _, err := kept.in.ReadFile(t.Context(), kept.Root, layout.ReferrersPath("app", m.Digest), 1<<20); err != nil {
		t.Errorf("the signature of what does not change: %v", err)
	}
}

// Recompressing changes only descriptors: those of manifests in an index, and those of
// layers in a manifest.
func TestRecompressedIndex(t *testing.T) {
	tb := new(testimage.Tarball)
	_, amd64, arm64 := testimage.MultiPlatform(tb)
	seekable := testimage.ImageManifest(nil, "")
	blobOf := func(d v1.Descriptor) []byte { // in the archive so far
		return tb.Written[ocilayout.BlobPath(d.Digest)]
	}
	unmarshal(t, blobOf(amd64), &seekable)
	seekable.Layers[0].Annotations = map[string]string{
		"containerd.io/snapshot/stargz/toc.digest": digest.FromString("toc").String(),
		"org.example.kept":                         "<&>",
	}
	// Unknown fields, in an unusual order.
	data := bytes.Replace(testimage.Marshal(seekable), []byte(`{`), []byte(`{"zzz":[1.50,{"b":1,"a":12345678901234567890}],`), 1)
	tb.Blob(data)
	changed := testimage.Describe(v1.MediaTypeImageManifest, data)
	changed.Platform, changed.Annotations = amd64.Platform, map[string]string{"org.example": "x"}
	list := v1.Index{
		MediaType: v1.MediaTypeImageIndex, Annotations: map[string]string{"a": "b"},
		Manifests: []v1.Descriptor{testimage.Attestation(tb, changed), changed, arm64},
	}
	list.SchemaVersion = 2
	tb.Blob(testimage.Marshal(list))
	top := testimage.Tagged(testimage.Describe(v1.MediaTypeImageIndex, testimage.Marshal(list)), "1.0")
	archive := testimage.LayoutOf(tb, top)

	got := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{Recompress: true})
	again := mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{Recompress: true})
	if got.Root != again.Root {
		t.Errorf("two conversions give %s and %s", got.Root, again.Root)
	}
	var index v1.Index
	unmarshal(t, got.mustHave(t, "1.0").Data, &index)
	if len(index.Manifests) != 2 || index.Annotations["a"] != "b" || index.Manifests[0].Annotations["org.example"] != "x" {
		t.Fatalf("the index is %+v", index)
	}
	if strings.Count(got.said, "is left out") != 1 {
		t.Errorf("said %q", got.said)
	}
	for i, before := range []v1.Descriptor{changed, arm64} {
		d := index.Manifests[i]
		m := got.mustHave(t, d.Digest.String())
		if d.Digest == before.Digest || int64(len(m.Data)) != d.Size || d.Platform.Architecture != before.Platform.Architecture || d.MediaType != before.MediaType || m.MediaType != before.MediaType {
			t.Errorf("%+v became %+v", before, d)
		}
		var was, is v1.Manifest
		unmarshal(t, blobOf(before), &was)
		unmarshal(t, m.Data, &is)
		layer := readBlob(t, got.in, layout.Image{Root: got.Root}, is.Layers[0])
		if is.Config.Digest != was.Config.Digest || is.Layers[0].MediaType != v1.MediaTypeImageLayerGzip || is.Layers[0].Digest == was.Layers[0].Digest {
			t.Errorf("manifest %s became %s", blobOf(before), m.Data)
		}
		if want, have := gunzipped(t, blobOf(was.Layers[0])), gunzipped(t, layer); !bytes.Equal(want, have) {
			t.Error("the layer has other contents")
		}
	}
	m := got.mustHave(t, index.Manifests[0].Digest.String()).Data
	if !bytes.Contains(m, []byte(`"zzz":[1.50,{"b":1,"a":12345678901234567890}]`)) || !bytes.Contains(m, []byte(`"annotations":{"org.example.kept":"\u003c\u0026\u003e"}`)) {
		t.Errorf("the manifest is %s", m)
	}
	// Recompressing a second time changes nothing.
	var parts []v1.Descriptor
	tb = new(testimage.Tarball)
	for _, d := range index.Manifests {
		m := got.mustHave(t, d.Digest.String())
		var fields v1.Manifest
		unmarshal(t, m.Data, &fields)
		tb.Blob(m.Data)
		parts = append(parts, append(fields.Layers, fields.Config)...)
	}
	for _, d := range parts {
		tb.Blob(readBlob(t, got.in, layout.Image{Root: got.Root}, d))
	}
	tb.Blob(got.mustHave(t, "1.0").Data)
	third := mustConvertFrom(t, source.FromArchive(bytes.NewReader(testimage.LayoutOf(tb, testimage.Tagged(testimage.Describe(v1.MediaTypeImageIndex, got.mustHave(t, "1.0").Data), "1.0")))), Options{Recompress: true})
	if third.Root != got.Root {
		t.Errorf("recompressed twice, the root is %s, want %s", third.Root, got.Root)
	}
}

func gunzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A document that programs read in different ways is not rewritten.
func TestFieldsThatAreSpelledOtherwise(t *testing.T) {
	for _, test := range [][2]string{{"layers", "Layers"}, {"layers", "layer\u017f"}, {"digest", "Digest"}} {
		tb := new(testimage.Tarball)
		img := testimage.New(nil, testimage.Layer("a", 1000))
		d := testimage.GzippedImage(tb, img)
		data := bytes.Replace(tb.Written[ocilayout.BlobPath(d.Digest)], []byte(`"`+test[0]+`":[`), []byte(`"`+test[1]+`":[`), 1)
		if test[0] == "digest" {
			at := bytes.LastIndex(data, []byte(`"digest"`))
			data = slices.Concat(data[:at], []byte(`"`+test[1]+`"`), data[at+len(`"digest"`):])
		}
		tb.Blob(data)
		list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{testimage.Describe(v1.MediaTypeImageManifest, data)}}
		list.SchemaVersion = 2
		tb.Blob(testimage.Marshal(list))
		archive := testimage.LayoutOf(tb, testimage.Describe(v1.MediaTypeImageIndex, testimage.Marshal(list)))
		want := fmt.Sprintf("a field is spelled %q, and must be %q", test[1], test[0])
		if _, err := convertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{Recompress: true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %q", test[1], err, want)
		}
		mustConvertFrom(t, source.FromArchive(bytes.NewReader(archive)), Options{}) // which keeps it
	}
}

func TestEditList(t *testing.T) {
	for _, data := range []string{`[]`, `{"layers":{}}`, `{}`} {
		if got, err := editList([]byte(data), "layers", func(_ int, entry object) (object, error) { return entry, nil }); err == nil {
			t.Errorf("%s becomes %s", data, got)
		}
	}
	got, err := editList([]byte(` { "b" : 1e2 , "layers" : [ {"x":"<"} , {} ] , "a" : null } `), "layers", func(i int, entry object) (object, error) {
		if i == 1 {
			return nil, nil
		}
		entry["y"] = json.RawMessage("1")
		return entry, nil
	})
	if want := `{"a":null,"b":1e2,"layers":[{"x":"<","y":1}]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
