package tree

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Listing lists the images below a root.
type Listing struct {
	Root   cid.Cid
	Images []layout.Tagged

	// Alone has a root for each image if the images were added to a root that changes: a
	// directory that holds the image's repository alone. It is nil otherwise.
	Alone []cid.Cid

	// Latest is the manifest that clients pull of a name without a tag, by name.
	Latest map[string]digest.Digest
}

// Listing lists the images of a finished tree.
func (t *Tree) Listing() Listing {
	return Listing{Root: t.Root.CID, Images: slices.Clone(t.Images), Latest: t.latest()}
}

// Sizes returns how many bytes a client pulls for each of the tree's images.
func (t *Tree) Sizes(ctx context.Context) []int64 {
	byPath := map[string]int64{} // an image may have many tags
	sizes := make([]int64, len(t.Images))
	for i, img := range t.Images {
		path := layout.ManifestPath(img.Name, img.Digest.String())
		if _, known := byPath[path]; !known {
			byPath[path] = t.size(ctx, path, img.Name)
		}
		sizes[i] = byPath[path]
	}
	return sizes
}

// latest returns the manifests with the name latest, by the names of their images.
func (t *Tree) latest() map[string]digest.Digest {
	latest := map[string]digest.Digest{}
	for _, img := range t.Images {
		alias, there := t.Files[layout.ManifestPath(img.Name, layout.Latest)]
		f := t.Files[layout.ManifestPath(img.Name, img.Digest.String())]
		if there && alias.Node().CID.Equals(f.Node().CID) {
			latest[img.Name] = img.Digest
		}
	}
	return latest
}

// size returns how many bytes a client pulls for the manifest at a path: those of the
// manifest and of everything in the tree that it leads to.
func (t *Tree) size(ctx context.Context, manifest, name string) int64 {
	seen := map[string]bool{}
	var add func(path string) int64
	add = func(path string) int64 {
		f, there := t.Files[path]
		if !there || seen[path] {
			return 0
		}
		seen[path] = true
		if f.Blob != nil && layout.IsBlobPath(path) {
			return f.Blob.Size()
		}
		data, err := f.Document(ctx)
		if err != nil {
			return 0
		}
		n := int64(len(data))
		var fields struct {
			Config            v1.Descriptor
			Layers, Manifests []v1.Descriptor
		}
		if json.Unmarshal(data, &fields) != nil {
			return n
		}
		for _, d := range append(fields.Layers, fields.Config) {
			n += add(layout.BlobPath(name, d.Digest))
		}
		for _, d := range fields.Manifests {
			n += add(layout.ManifestPath(name, d.Digest.String()))
		}
		return n
	}
	return add(manifest)
}

// References returns one reference for each image, as clients pull it from the registry
// at host. The tag is left out for an only image that is latest as well.
func (l *Listing) References(host string) ([]string, error) {
	if len(l.Images) == 0 {
		return nil, nil
	}
	references := make([]string, len(l.Images))
	for i, img := range l.Images {
		address, err := cidname.Format(l.rootOf(i))
		if err != nil {
			return nil, fmt.Errorf("naming the result: %w", err)
		}
		ref := host + "/" + address
		if img.Name != "" {
			ref += "/" + img.Name
		}
		switch {
		case len(l.Images) == 1 && l.Latest[img.Name] == img.Digest:
		case img.Tag != "":
			ref += ":" + img.Tag
		default:
			ref += "@" + img.Digest.String()
		}
		references[i] = ref
	}
	return references, nil
}

// rootOf returns the root of which image i is pulled.
func (l *Listing) rootOf(i int) cid.Cid {
	if l.Alone != nil {
		return l.Alone[i]
	}
	return l.Root
}
