package origin

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A NameDir is the directory of the images of one name: its files by tag or digest,
// and the graph of its manifests. It is not safe for concurrent use.
type NameDir struct {
	Manifests, Blobs, Referrers map[string]cid.Cid
	Graph                       *manifest.Graph
}

// NameDir lists the directory of a name below a root.
func (o Origin) NameDir(ctx context.Context, root cid.Cid, name string) (*NameDir, error) {
	dir := new(NameDir)
	for path, entries := range map[string]*map[string]cid.Cid{
		layout.ManifestsDir(name): &dir.Manifests,
		layout.BlobsDir(name):     &dir.Blobs,
		layout.ReferrersDir(name): &dir.Referrers,
	} {
		var err error
		if *entries, err = o.Dir(ctx, root, path); err != nil {
			return nil, err
		}
	}
	dir.Graph = manifest.NewGraph(func(d v1.Descriptor) ([]byte, error) {
		file, ok := dir.Manifests[d.Digest.String()]
		if !ok {
			return nil, &manifest.MissingError{What: "manifest " + d.Digest.String(), Where: Address(root)}
		}
		data, err := o.Read(ctx, file, layout.MaxManifest)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		return data, nil
	})
	return dir, nil
}

// Add makes an image's manifest a part of the graph, even if it has no file that is
// named by its digest.
func (dir *NameDir) Add(img Image) {
	if _, ok := dir.Manifests[img.Digest.String()]; !ok {
		dir.Manifests[img.Digest.String()] = img.File
	}
}
