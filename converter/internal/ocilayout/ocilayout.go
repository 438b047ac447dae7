// Package ocilayout has the file names and forms of OCI image layouts and of Docker's
// archives. Since version 25, Docker's archives are layouts that have a list of images
// beside the index. Archives are read and written by these names.
package ocilayout

import (
	"path"

	"github.com/opencontainers/go-digest"
)

// The files that say which images there are.
const (
	Index      = "index.json"    // OCI's, of manifests
	DockerList = "manifest.json" // Docker's, of configs and layers
)

// A DockerEntry is an image in Docker's list.
// https://github.com/moby/docker-image-spec/blob/main/v1.2.md
type DockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// ContainerdName is the annotation for the whole name of an image, which containerd and
// Docker use. OCI's own annotation has the tag alone, or anything else.
const ContainerdName = "io.containerd.image.name"

// BlobPath returns the path of a blob in an OCI layout.
func BlobPath(d digest.Digest) string {
	return path.Join("blobs", d.Algorithm().String(), d.Encoded())
}
