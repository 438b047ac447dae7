package export

import (
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// chooseBelow returns the manifest for the wanted platform, out of those that an index
// leads to and that are present.
func chooseBelow(graph *manifest.Graph, index v1.Descriptor, wanted platform.Platform) (v1.Descriptor, error) {
	var found []v1.Descriptor
	var all []platform.Platform
	err := graph.Walk(index, func(s manifest.Step) error {
		for _, b := range s.Below {
			if p, ok := platform.Of(b.Descriptor); ok && b.Node != nil {
				found = append(found, v1.Descriptor{MediaType: b.Node.MediaType, Digest: b.Digest, Size: b.Size, Platform: b.Platform})
				all = append(all, p)
			}
		}
		return nil
	})
	if err != nil {
		return index, err
	}
	i := platform.Choose(all, wanted)
	switch {
	case len(all) == 0:
		return index, fmt.Errorf("there is no image for %s, nor for any platform", wanted)
	case i < 0:
		return index, fmt.Errorf("there is no image for %s: there is %s", wanted, platformList(all))
	}
	return found[i], nil
}
