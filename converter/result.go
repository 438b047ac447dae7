package converter

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Result says where images are now.
type Result struct {
	Root   cid.Cid
	Images []Image // in the archive's order

	// Bytes is how many bytes the blobs of the whole root have, and Reused how
	// many of them are in leaves that the destination had before, or that the
	// root has more than once; -1 where that is not known. The others are what is
	// new: each leaf once, as IPFS keeps and sends it.
	Bytes, Reused int64

	latest map[string]digest.Digest // by name: what is pulled without a tag
}

// commit puts a tree where it belongs.
func commit(ctx context.Context, dst Destination, t *Tree, o Options) (*Result, error) {
	r := &Result{Root: t.Root.CID, Images: t.Images, Reused: -1, latest: t.latest()}
	for i, img := range r.Images {
		r.Images[i].Size = t.size(layout.ManifestPath(img.Name, img.Digest.String()), img.Name)
	}
	for _, b := range t.Blobs() {
		r.Bytes += b.Size()
	}
	if dst, ok := dst.(counter); ok && o.CountReused > 0 {
		var err error
		if r.Reused, err = dst.reused(ctx, t, o.CountReused); err != nil {
			return nil, err
		}
	}
	return r, dst.Commit(ctx, t)
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
func (t *Tree) size(manifest, name string) int64 {
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
		data, err := f.read(context.Background())
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

// An Image is one reference of a Result.
type Image struct {
	Name      string // below the root; empty where the root is the image
	Tag       string // empty for an untagged image
	MediaType string
	Digest    digest.Digest
	Size      int64 // bytes to pull; of a Result
}

// References returns what to pull: one reference for each image of the result,
// from the registry host. Where there is only one, and it goes by the name latest
// as well, the tag is left out.
func (r *Result) References(host string) ([]string, error) {
	address, err := cidname.Format(r.Root)
	if err != nil {
		return nil, fmt.Errorf("naming the result: %w", err)
	}
	references := make([]string, len(r.Images))
	for i, img := range r.Images {
		ref := host + "/" + address
		if img.Name != "" {
			ref += "/" + img.Name
		}
		switch {
		case len(r.Images) == 1 && r.latest[img.Name] == img.Digest:
		case img.Tag != "":
			ref += ":" + img.Tag
		default:
			ref += "@" + img.Digest.String()
		}
		references[i] = ref
	}
	return references, nil
}
