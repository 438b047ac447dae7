package testimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
)

// ImageManifest is the manifest of a config and layers, gzipped or plain.
func ImageManifest(config []byte, mediaType string, layers ...[]byte) v1.Manifest {
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: Describe(mediaType, config), Layers: []v1.Descriptor{}}
	m.SchemaVersion = 2
	for _, l := range layers {
		layerType := v1.MediaTypeImageLayer
		if bytes.HasPrefix(l, []byte{0x1f, 0x8b}) {
			layerType = v1.MediaTypeImageLayerGzip
		}
		m.Layers = append(m.Layers, Describe(layerType, l))
	}
	return m
}

// Describe returns the descriptor of data.
func Describe(mediaType string, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// BlobName returns the path of a blob in an OCI layout.
func BlobName(data []byte) string { return "blobs/sha256/" + HexOf(data) }

// HexOf returns the sha256 of data in hexadecimal.
func HexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Gzipped returns data compressed with gzip, as one member.
func Gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// Marshal returns v as JSON.
func Marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Zstandard returns data compressed with zstd.
func Zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(data, nil)
}

// OCIManifest adds a manifest to the archive, without its config and layers, and returns
// its descriptor.
func OCIManifest(tb *Tarball, config []byte, mediaType string, layers ...[]byte) v1.Descriptor {
	m := Marshal(ImageManifest(config, mediaType, layers...))
	tb.Blob(m)
	return Describe(v1.MediaTypeImageManifest, m)
}

// GzippedImage adds an image with gzipped layers to the archive and returns the
// descriptor of its manifest.
func GzippedImage(tb *Tarball, img Image) v1.Descriptor {
	tb.Blob(img.Config)
	var layers [][]byte
	for _, l := range img.Layers {
		layers = append(layers, Gzipped(l))
		tb.Blob(Gzipped(l))
	}
	return OCIManifest(tb, img.Config, v1.MediaTypeImageConfig, layers...)
}

// Tagged returns a descriptor with a name in OCI's annotation.
func Tagged(d v1.Descriptor, name string) v1.Descriptor {
	d.Annotations = map[string]string{v1.AnnotationRefName: name}
	return d
}

// LayoutOf adds the index of an OCI layout to an archive, and ends it.
func LayoutOf(tb *Tarball, manifests ...v1.Descriptor) []byte {
	return tb.File(ocilayout.Index, Marshal(v1.Index{Manifests: manifests})).Close()
}

// MultiPlatform is an index of two images, each with an attestation of buildx.
func MultiPlatform(tb *Tarball) (index v1.Descriptor, amd64, arm64 v1.Descriptor) {
	amd64 = GzippedImage(tb, New(nil, Layer("amd64", 4000)))
	amd64.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = GzippedImage(tb, New(nil, Layer("arm64", 4000)))
	arm64.Platform = &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	manifests := []v1.Descriptor{amd64, arm64}
	for _, d := range manifests {
		manifests = append(manifests, Attestation(tb, d))
	}
	list := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: manifests}
	list.SchemaVersion = 2
	tb.Blob(Marshal(list))
	return Describe(v1.MediaTypeImageIndex, Marshal(list)), amd64, arm64
}

// Attestation is as buildx writes it: an image by its config, with statements for
// layers, for no platform.
func Attestation(tb *Tarball, of v1.Descriptor) v1.Descriptor {
	statement := Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject":       []any{map[string]any{"name": "app", "digest": map[string]string{"sha256": of.Digest.Encoded()}}},
	})
	config := Marshal(map[string]any{
		"architecture": "unknown", "os": "unknown", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{digest.FromBytes(statement)}},
	})
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: Describe(v1.MediaTypeImageConfig, config)}
	m.SchemaVersion = 2
	layer := Describe("application/vnd.in-toto+json", statement)
	layer.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
	m.Layers = []v1.Descriptor{layer}
	tb.Blob(statement).Blob(config).Blob(Marshal(m))
	d := Describe(v1.MediaTypeImageManifest, Marshal(m))
	d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": of.Digest.String(),
	}
	return d
}
