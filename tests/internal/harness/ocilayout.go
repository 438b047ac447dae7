package harness

import (
	"archive/tar"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// An OCILayout is an OCI image layout that a test builds.
type OCILayout struct {
	t       *testing.T
	archive Archive
	names   map[string]bool
}

// An OCIDescriptor is a descriptor of the OCI image specification.
type OCIDescriptor struct {
	MediaType   string            `json:"mediaType"`
	Size        int               `json:"size"`
	Digest      string            `json:"digest"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// The media types of OCI images.
const (
	OCIManifest = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex    = "application/vnd.oci.image.index.v1+json"
	OCIConfig   = "application/vnd.oci.image.config.v1+json"
	OCILayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// NewOCILayout returns an empty layout.
func NewOCILayout(t *testing.T) *OCILayout {
	return &OCILayout{t: t, names: map[string]bool{}}
}

// ForPlatform returns the descriptor with a platform, such as linux/arm64.
func (d OCIDescriptor) ForPlatform(platform string) OCIDescriptor {
	system, architecture, _ := strings.Cut(platform, "/")
	d.Platform = map[string]string{"os": system, "architecture": architecture}
	return d
}

// Named returns the descriptor with the annotation that names an image.
func (d OCIDescriptor) Named(name string) OCIDescriptor {
	d.Annotations = map[string]string{"io.containerd.image.name": "docker.io/" + name}
	return d
}

// Blob adds a blob.
func (l *OCILayout) Blob(mediaType string, content []byte) OCIDescriptor {
	return l.add(mediaType, DigestOf(content), content)
}

// SHA512Blob adds a blob under its sha512 digest.
func (l *OCILayout) SHA512Blob(mediaType string, content []byte) OCIDescriptor {
	return l.add(mediaType, fmt.Sprintf("sha512:%x", sha512.Sum512(content)), content)
}

func (l *OCILayout) add(mediaType, digest string, content []byte) OCIDescriptor {
	name := "blobs/" + strings.Replace(digest, ":", "/", 1)
	if !l.names[name] {
		l.archive = append(l.archive, Entry{tar.Header{Name: name, Mode: 0o644}, content})
	}
	l.names[name] = true
	return OCIDescriptor{MediaType: mediaType, Size: len(content), Digest: digest}
}

// Manifest adds a manifest or index with the given fields, and with the schema version
// and media type.
func (l *OCILayout) Manifest(mediaType string, fields map[string]any) OCIDescriptor {
	l.t.Helper()
	fields["schemaVersion"], fields["mediaType"] = 2, mediaType
	content, err := json.Marshal(fields)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.Blob(mediaType, content)
}

// Write writes the layout as an archive. The descriptors are those of index.json.
func (l *OCILayout) Write(t *testing.T, index ...OCIDescriptor) (file string) {
	t.Helper()
	content, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": index})
	if err != nil {
		t.Fatal(err)
	}
	return append(l.archive,
		Entry{tar.Header{Name: "index.json", Mode: 0o644}, content},
		Entry{tar.Header{Name: "oci-layout", Mode: 0o644}, []byte(`{"imageLayoutVersion":"1.0.0"}`)}).Write(t)
}
