package harness

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// ImageBlobs are the blobs of an image, with compressed layers.
type ImageBlobs struct {
	Config string            // a digest
	Layers []string          // digests
	Blobs  map[string]string // by digest
}

// BlobsOf returns the image's blobs.
func BlobsOf(t *testing.T, img Image) ImageBlobs {
	t.Helper()
	a := ReadArchive(t, img.Archive)
	saved := a.Saved(t)
	b := ImageBlobs{Blobs: map[string]string{}}
	add := func(content []byte) string {
		digest := DigestOf(content)
		b.Blobs[digest] = string(content)
		return digest
	}
	b.Config = add(a.File(t, saved.Config))
	for _, layer := range saved.Layers {
		b.Layers = append(b.Layers, add(Gzipped(t, a.File(t, layer))))
	}
	return b
}

// A LinkedDescriptor is a descriptor with the fields that programs which publish images
// on IPFS add.
type LinkedDescriptor struct {
	Descriptor
	URLs        []string          `json:"urls,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// A LinkedManifest is a manifest of linked descriptors.
type LinkedManifest struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	Config        LinkedDescriptor   `json:"config"`
	Layers        []LinkedDescriptor `json:"layers"`
}

// DockerManifestOf returns the image's manifest as image2ipfs and ipdr wrote it, and
// its blobs by digest.
func DockerManifestOf(t *testing.T, img Image) (m LinkedManifest, blobs map[string]string) {
	t.Helper()
	b := BlobsOf(t, img)
	return b.DockerManifest(b.Describe), b.Blobs
}

// WriteImage2ipfs writes an image as image2ipfs 0.1.0 did, which named compressed
// layers by the digests of their uncompressed content.
func WriteImage2ipfs(t *testing.T, img Image) (dir string) {
	t.Helper()
	a := ReadArchive(t, img.Archive)
	saved := a.Saved(t)
	dir = t.TempDir()
	m := Manifest{SchemaVersion: 2, MediaType: DockerManifestType}
	add := func(mediaType, digest string, blob []byte) Descriptor {
		WriteFile(t, filepath.Join(dir, ImageName, "blobs", digest), string(blob))
		return Descriptor{mediaType, len(blob), digest}
	}
	config := a.File(t, saved.Config)
	m.Config = add(DockerConfigType, DigestOf(config), config)
	for _, layer := range saved.Layers {
		tar := a.File(t, layer)
		m.Layers = append(m.Layers, add(DockerLayerType, DigestOf(tar), Gzipped(t, tar)))
	}
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, filepath.Join(dir, ImageName, "manifests", "latest-v2"), string(content)+"\n")
	return dir
}

// DockerManifest returns the image's manifest in Docker's format, with the descriptors
// that describe returns.
func (b ImageBlobs) DockerManifest(describe func(mediaType, digest string) LinkedDescriptor) LinkedManifest {
	return b.Manifest(DockerManifestType, DockerConfigType, DockerLayerType, describe)
}

// Manifest returns the image's manifest with the given media types, and with the
// descriptors that describe returns.
func (b ImageBlobs) Manifest(mediaType, config, layer string, describe func(mediaType, digest string) LinkedDescriptor) LinkedManifest {
	m := LinkedManifest{SchemaVersion: 2, MediaType: mediaType, Config: describe(config, b.Config)}
	for _, digest := range b.Layers {
		m.Layers = append(m.Layers, describe(layer, digest))
	}
	return m
}

// Describe returns a plain descriptor of a blob.
func (b ImageBlobs) Describe(mediaType, digest string) LinkedDescriptor {
	return LinkedDescriptor{Descriptor: Descriptor{mediaType, len(b.Blobs[digest]), digest}}
}
