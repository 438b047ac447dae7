package export

import (
	"context"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

// choose returns the manifest for the wanted platform, out of those of an index. A
// manifest that is not an index must be for that platform.
func (c *collector) choose(ctx context.Context, dir *nameDir, top v1.Descriptor) (v1.Descriptor, error) {
	m, err := dir.Graph.Node(top)
	if err != nil {
		return top, err
	}
	if !m.IsIndex() {
		return top, c.checkPlatform(ctx, dir, m)
	}
	var found []v1.Descriptor
	var all []platform.Platform
	err = dir.Graph.Walk(top, func(s manifest.Step) error {
		for _, b := range s.Below {
			if p, ok := platform.Of(b.Descriptor); ok && b.Node != nil {
				found = append(found, v1.Descriptor{MediaType: b.Node.MediaType, Digest: b.Digest, Size: b.Size, Platform: b.Platform})
				all = append(all, p)
			}
		}
		return nil
	})
	if err != nil {
		return top, err
	}
	i := platform.Choose(all, *c.Platform)
	switch {
	case len(all) == 0:
		return top, fmt.Errorf("there is no image for %s, nor for any platform", c.Platform)
	case i < 0:
		return top, fmt.Errorf("there is no image for %s: there is %s", c.Platform, platformList(all))
	}
	return found[i], nil
}

// checkPlatform returns an error if an image without an index is for another platform
// than the wanted one. An artifact is for all.
func (c *collector) checkPlatform(ctx context.Context, dir *nameDir, m *manifest.Node) error {
	config, err := c.addConfig(ctx, dir, m)
	if config == nil || err != nil {
		return err
	}
	if p := platform.From(config.Platform); !p.Serves(*c.Platform) {
		return fmt.Errorf("the image is for %s, and not for %s", p, c.Platform)
	}
	return nil
}
