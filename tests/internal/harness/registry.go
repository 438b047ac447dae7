package harness

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Address is the CID in a reference.
func Address(ref string) string { return strings.Split(ref, "/")[1] }

// A Descriptor says where in a registry something is.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Size      int    `json:"size"`
	Digest    string `json:"digest"`
}

type Manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        Descriptor   `json:"config"`
	Layers        []Descriptor `json:"layers"`
}

// FetchManifest asks the registry for an image's manifest, and gives its digest
// as well.
func FetchManifest(t *testing.T, ref string) (m Manifest, digest string) {
	t.Helper()
	resp := Get(t, Repository(ref)+"/manifests/latest")
	if err := json.Unmarshal([]byte(resp.Text), &m); err != nil || resp.StatusCode != http.StatusOK || len(m.Layers) == 0 {
		t.Fatalf("%s: %d: %v\n%s", ref, resp.StatusCode, err, resp.Text)
	}
	return m, resp.Header.Get("Docker-Content-Digest")
}

// Repository is a reference's URL in the registry protocol.
func Repository(ref string) string {
	host, name, _ := strings.Cut(ref, "/")
	return "http://" + host + "/v2/" + name
}

// ConfigDigest is the digest of the config in a manifest.
func ConfigDigest(t *testing.T, content string) string {
	t.Helper()
	var m Manifest
	if err := json.Unmarshal([]byte(content), &m); err != nil || m.Config.Digest == "" {
		t.Fatalf("not an image's manifest: %v\n%s", err, content)
	}
	return m.Config.Digest
}

const (
	DockerManifestType = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfigType   = "application/vnd.docker.container.image.v1+json"
	DockerLayerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)
