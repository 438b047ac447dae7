package manifest

import (
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// IsIndex reports whether a manifest is an index.
func IsIndex(m layout.Manifest) bool { return IsIndexType(m.MediaType) }

// IsIndexType reports whether a media type is that of an index.
func IsIndexType(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == layout.DockerManifestList
}

// IsManifest reports whether a descriptor is of a manifest or index. Anything else that
// an index lists is a blob.
func IsManifest(d v1.Descriptor) bool {
	return d.MediaType == "" || layout.IsManifestType(d.MediaType)
}

// IsConfig reports whether a media type is that of an image's config.
func IsConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == layout.DockerConfig
}

// IsLayer reports whether a media type is that of a layer of an image, distributable
// or not.
func IsLayer(mediaType string) bool {
	switch mediaType {
	case v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd,
		layout.DockerLayer, layout.DockerLayerGzip, layout.DockerLayerZstd:
		return true
	}
	return IsForeign(mediaType)
}

// IsForeign reports whether a media type is that of a non-distributable layer. Such
// layers, which Windows had, are seldom where the others are.
func IsForeign(mediaType string) bool {
	switch mediaType {
	case layout.DockerForeignLayer, layout.DockerForeignLayer + ".gzip",
		v1.MediaTypeImageLayerNonDistributable,     //nolint:staticcheck // deprecated, and still in use
		v1.MediaTypeImageLayerNonDistributableGzip, //nolint:staticcheck // as above
		v1.MediaTypeImageLayerNonDistributableZstd: //nolint:staticcheck // as above
		return true
	}
	return false
}
