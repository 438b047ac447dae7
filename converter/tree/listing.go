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

// A Listing says which images are at an address.
type Listing struct {
	Root   cid.Cid
	Images []Image

	// Latest is what is pulled of a name without a tag, by name.
	Latest map[string]digest.Digest
}

// An Image is a tag of a tree, or a manifest or index that has none.
type Image struct {
	Name      string // below the root; empty where the root is the image
	Tag       string // empty for an untagged image
	MediaType string
	Digest    digest.Digest
	Size      int64 // bytes to pull; in a Listing alone
}

// Listing lists the images of a tree that is finished.
func (t *Tree) Listing(ctx context.Context) Listing {
	l := Listing{t.Root.CID, slices.Clone(t.Images), t.latest()}
	for i, img := range l.Images {
		l.Images[i].Size = t.size(ctx, layout.ManifestPath(img.Name, img.Digest.String()), img.Name)
	}
	return l
}

// latest returns the manifests that go by the name latest.
func (t *Tree) latest() map[string]digest.Digest {
	latest := map[string]digest.Digest{}
	for _, img := range t.Images {
		alias, there := t.Files[layout.ManifestPath(img.Name, layout.Latest)]
		f := t.Files[layout.ManifestPath(img.Name, img.Digest.String())]
		if there && alias.node().CID.Equals(f.node().CID) {
			latest[img.Name] = img.Digest
		}
	}
	return latest
}

// size returns how many bytes are pulled for a manifest at a path, of an image of
// that name: its own, and those of all that it leads to and that is here.
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
		data, err := f.Read(ctx)
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

// References returns what to pull: one reference for each image, from the registry
// host. Where there is only one, and it goes by the name latest as well, the tag is
// left out.
func (l *Listing) References(host string) ([]string, error) {
	if len(l.Images) == 0 {
		return nil, nil
	}
	address, err := cidname.Format(l.Root)
	if err != nil {
		return nil, fmt.Errorf("naming the result: %w", err)
	}
	references := make([]string, len(l.Images))
	for i, img := range l.Images {
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
