// Package ocilayout knows what is where in an OCI image layout, and in the archives
// of Docker, which since version 25 are layouts with a list of their own beside the
// index. An archive is read by these names, and written by the same.
package ocilayout

import (
	"path"

	"github.com/opencontainers/go-digest"
)

// Where it is said which images there are.
const (
	Index      = "index.json"    // by OCI, of manifests
	DockerList = "manifest.json" // by Docker, of configs and layers
)

// A DockerEntry is an image of Docker's list.
// https://github.com/moby/docker-image-spec/blob/main/v1.2.md
type DockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// ContainerdName is the annotation in which containerd, and so Docker, keeps an
// image's whole name. OCI's own holds the tag alone, or whatever a program likes.
const ContainerdName = "io.containerd.image.name"

// BlobPath returns where an OCI layout has a blob.
func BlobPath(d digest.Digest) string {
	return path.Join("blobs", d.Algorithm().String(), d.Encoded())
}
