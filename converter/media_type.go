package converter

import (
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// What manifests and descriptors say that they are, in OCI's words and Docker's.

func isIndex(m layout.Manifest) bool {
	return m.MediaType == v1.MediaTypeImageIndex || m.MediaType == layout.DockerManifestList
}

// isManifest reports whether a descriptor is of a manifest or index. An index
// may name anything.
func isManifest(d v1.Descriptor) bool {
	return d.MediaType == "" || layout.IsManifestType(d.MediaType)
}

func isConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == layout.DockerConfig
}

// isAttestation reports whether an index's entry is about another one, as those
// of buildx are, which no platform would choose.
func isAttestation(d v1.Descriptor) bool {
	return d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

func isLayer(mediaType string) bool {
	switch mediaType {
	case v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd,
		layout.DockerLayer, layout.DockerLayerGzip, layout.DockerLayerZstd:
		return true
	}
	return isForeign(mediaType)
}

// isForeign reports whether a layer is one that not everybody may distribute, so
// that it is seldom where the others are. Those of Windows were.
func isForeign(mediaType string) bool {
	switch mediaType {
	case layout.DockerForeignLayer, layout.DockerForeignLayer + ".gzip",
		v1.MediaTypeImageLayerNonDistributable,     //nolint:staticcheck // what is deprecated is still there
		v1.MediaTypeImageLayerNonDistributableGzip, //nolint:staticcheck // as above
		v1.MediaTypeImageLayerNonDistributableZstd: //nolint:staticcheck // as above
		return true
	}
	return false
}
