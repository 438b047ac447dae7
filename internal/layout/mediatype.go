package layout

import v1 "github.com/opencontainers/image-spec/specs-go/v1"

// Docker's media types, from before there were OCI's.
// https://distribution.github.io/distribution/spec/manifest-v2-2/
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig       = "application/vnd.docker.container.image.v1+json"
	DockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	DockerLayerGzip    = DockerLayer + ".gzip"
	DockerLayerZstd    = DockerLayer + ".zstd"
	DockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar" // and .gzip of it

	// OCIArtifact comes from a release candidate, and is still in use.
	OCIArtifact = "application/vnd.oci.artifact.manifest.v1+json"
)

// IsManifestType reports whether a media type is that of a manifest or index.
func IsManifestType(mediaType string) bool {
	switch mediaType {
	case DockerManifest, DockerManifestList, v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, OCIArtifact:
		return true
	}
	return false
}
