package registry

import (
	"context"
	"path"
	"slices"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// tags returns the tags of an image, without those that the lists refuse by the names that
// led to the image.
func (g *Registry) tags(ctx context.Context, q request) ([]string, images.Origin, error) {
	tags, from, err := g.Library.Tags(ctx, q.Query)
	tags = slices.DeleteFunc(tags, func(tag string) bool { return !g.admits(q.way, layout.ManifestPath("", tag)) })
	return tags, from, err
}

// admits reports whether the lists let a path below each of these names pass.
func (g *Registry) admits(way []names.Step, below string) bool {
	for _, step := range way {
		if g.Library.AdmitName(step.Name.String(), path.Join(step.Path, below)) != nil {
			return false
		}
	}
	return true
}
