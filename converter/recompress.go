package converter

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
)

// noteCompressed says how many layers stay as they came, with which a new
// version shares little.
func (a *archive) noteCompressed(images []*image) {
	switch n := a.compressedLayers(images); n {
	case 0:
	case 1:
		a.logf("1 layer came compressed and is kept as it is: --recompress makes new versions of it cheap")
	default:
		a.logf("%d layers came compressed and are kept as they are: --recompress makes new versions of them cheap", n)
	}
}

// compressedLayers counts the layers of images, and not what artifacts have in
// their place, that came compressed.
func (a *archive) compressedLayers(images []*image) int {
	compressed := map[digest.Digest]bool{}
	for _, c := range a.contents {
		if c.CameCompressed() {
			compressed[c.Digest] = true
		}
	}
	n := 0
	for _, img := range images {
		for _, m := range img.manifests() {
			for _, layer := range layersOf(m.Data) {
				if compressed[layer.Digest] {
					delete(compressed, layer.Digest)
					n++
				}
			}
		}
	}
	return n
}

// layersOf returns the layers of an image's manifest, and nothing of any other.
func layersOf(data []byte) []v1.Descriptor {
	var m v1.Manifest
	if json.Unmarshal(data, &m) != nil || !manifest.IsConfig(m.Config.MediaType) {
		return nil
	}
	return m.Layers
}
