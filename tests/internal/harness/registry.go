package harness

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Address returns the address in a reference: the root of the image's directory.
func Address(ref string) string { return strings.Split(ref, "/")[1] }

// A Descriptor names content in a registry.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Size      int    `json:"size"`
	Digest    string `json:"digest"`
}

// A Manifest is an image's manifest in Docker's format or OCI's.
type Manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        Descriptor   `json:"config"`
	Layers        []Descriptor `json:"layers"`
}

// FetchManifest fetches the latest manifest of a repository, and its digest.
func FetchManifest(t *testing.T, ref string) (m Manifest, digest string) {
	t.Helper()
	resp := Get(t, Repository(ref)+"/manifests/latest")
	if err := json.Unmarshal([]byte(resp.Text), &m); err != nil || resp.StatusCode != http.StatusOK || len(m.Layers) == 0 {
		t.Fatalf("%s: %d: %v\n%s", ref, resp.StatusCode, err, resp.Text)
	}
	return m, resp.Header.Get("Docker-Content-Digest")
}

// Repository returns the URL of a reference's repository in the registry protocol. The
// reference has no tag.
func Repository(ref string) string {
	host, name, _ := strings.Cut(ref, "/")
	return "http://" + host + "/v2/" + name
}

// ConfigDigest returns the digest of the config in a manifest.
func ConfigDigest(t *testing.T, content string) string {
	t.Helper()
	var m Manifest
	if err := json.Unmarshal([]byte(content), &m); err != nil || m.Config.Digest == "" {
		t.Fatalf("not an image's manifest: %v\n%s", err, content)
	}
	return m.Config.Digest
}

// The media types of Docker's images.
const (
	DockerManifestType = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfigType   = "application/vnd.docker.container.image.v1+json"
	DockerLayerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)
