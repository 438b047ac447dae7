// Package inspect tells what images on IPFS are made of, down to how many leaves
// each layer has and how many of them a store has in other images: what a pull or
// another copy will cost. It reads manifests, configs and lists of leaves, and no
// layer, so an image of any size is described at once.
package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Inspection says what images are made of. Its fields in JSON are for
// programs, and stay.
type Inspection struct {
	Root   string   `json:"root"`            // as image names spell it
	CIDs   []string `json:"cids"`            // all spellings of the root
	Store  string   `json:"store,omitempty"` // that Shared is about, if any
	Images []Image  `json:"images"`
}

// An Image is a manifest or index that has tags, or a name alone.
type Image struct {
	Name      string        `json:"name,omitempty"` // below the root
	Tags      []string      `json:"tags"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	CID       string        `json:"cid"`

	// Manifests are those of an index that are there, or the image's own.
	Manifests []Manifest `json:"manifests"`

	// Missing are the platforms of an index that are not there.
	Missing []v1.Descriptor `json:"missing,omitempty"`

	Leaves
}

// An Manifest is what one platform pulls.
type Manifest struct {
	Platform  *v1.Platform  `json:"platform,omitempty"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	CID       string        `json:"cid"`
	Config    *Blob         `json:"config,omitempty"`
	Layers    []Blob        `json:"layers"`
}

// An Blob is a config or layer.
type Blob struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	CID       string        `json:"cid,omitempty"` // none where it is not there
	Leaves
}

// Leaves are those of a blob, or of all blobs of an image, each blob once.
type Leaves struct {
	Size   int64   `json:"size"` // bytes
	Leaves int     `json:"leaves"`
	Shared *Shared `json:"shared,omitempty"`
}

// Shared is how much of something a store has in other images.
type Shared struct {
	Size   int64 `json:"size"` // bytes
	Leaves int   `json:"leaves"`
}

func (l *Leaves) add(other Leaves) {
	l.Size += other.Size
	l.Leaves += other.Leaves
	if other.Shared == nil {
		return
	}
	if l.Shared == nil {
		l.Shared = new(Shared)
	}
	l.Shared.Size += other.Shared.Size
	l.Shared.Leaves += other.Shared.Leaves
}

// A Comparison is with the leaves that a store has.
type Comparison struct {
	Store *store.Store
	Same  bool // the images are in that store themselves, which does not count
}

// Images describes images below a root, of which it reads no layer. with may be
// nil.
func Images(ctx context.Context, from origin.Origin, root cid.Cid, s origin.Selection, with *Comparison) (*Inspection, error) {
	i := &inspector{ctx: ctx, from: from, root: root, dirs: map[string]map[string]unixfs.Node{}}
	images, err := s.Images(ctx, from, root)
	if err != nil {
		return nil, err
	}
	inspection := &Inspection{Root: origin.Address(root), Images: []Image{}}
	if with != nil {
		inspection.Store = with.Store.Dir()
		if i.there, err = i.leaves(with, images); err != nil {
			return nil, err
		}
	}
	for _, img := range images {
		n := slices.IndexFunc(inspection.Images, func(other Image) bool {
			return other.Name == img.Name && other.Digest == img.Digest
		})
		if n < 0 {
			inspected, err := i.image(img)
			if err != nil {
				return nil, fmt.Errorf("inspecting %s@%s: %w", img.Name, img.Digest, err)
			}
			n, inspection.Images = len(inspection.Images), append(inspection.Images, inspected)
		}
		if img.Tag != "" {
			inspection.Images[n].Tags = append(inspection.Images[n].Tags, img.Tag)
		}
	}
	return inspection, nil
}

type inspector struct {
	ctx   context.Context
	from  origin.Origin
	root  cid.Cid
	dirs  map[string]map[string]unixfs.Node // of manifests and blobs, by path
	there *store.LeafSet                    // or nil
}

func (i *inspector) image(img origin.Image) (Image, error) {
	inspected := Image{Name: img.Name, Tags: []string{}, MediaType: img.MediaType, Digest: img.Digest, Manifests: []Manifest{}}
	top, err := i.cid(img)
	if err != nil {
		return inspected, err
	}
	inspected.CID = top.String()
	all, missing, err := i.manifests(img)
	if err != nil {
		return inspected, err
	}
	inspected.Missing = missing
	blobs := map[digest.Digest]Leaves{}
	for _, m := range all {
		one, err := i.manifest(img.Name, m)
		if err != nil {
			return inspected, err
		}
		inspected.Manifests = append(inspected.Manifests, one)
		for _, b := range one.blobs() {
			blobs[b.Digest] = b.Leaves
		}
	}
	for _, l := range blobs {
		inspected.add(l)
	}
	return inspected, nil
}

func (m *Manifest) blobs() []Blob {
	if m.Config == nil {
		return m.Layers
	}
	return append([]Blob{*m.Config}, m.Layers...)
}

// manifest describes a manifest that is no index.
func (i *inspector) manifest(name string, m linkedManifest) (Manifest, error) {
	p := Manifest{
		Platform: m.platform, MediaType: m.MediaType, Digest: m.Digest,
		Size: int64(len(m.Data)), CID: m.cid.String(), Layers: []Blob{},
	}
	if m.Config != nil {
		config, err := i.blob(name, *m.Config)
		if err != nil {
			return p, err
		}
		p.Config = &config
		if p.Platform == nil && m.IsImage() {
			p.Platform = i.platform(name, *m.Config)
		}
	}
	for _, d := range slices.Concat(m.Layers, m.Blobs) {
		layer, err := i.blob(name, d)
		if err != nil {
			return p, err
		}
		p.Layers = append(p.Layers, layer)
	}
	return p, nil
}

// platform reads what an image is for from its config, if that can be read.
func (i *inspector) platform(name string, config v1.Descriptor) *v1.Platform {
	data, err := i.from.ReadFile(i.ctx, i.root, layout.BlobPath(name, config.Digest), layout.MaxManifest)
	var p v1.Platform
	if err != nil || json.Unmarshal(data, &p) != nil || p.OS == "" {
		return nil
	}
	return &p
}

func (i *inspector) blob(name string, d v1.Descriptor) (Blob, error) {
	b := Blob{MediaType: d.MediaType, Digest: d.Digest, Leaves: Leaves{Size: d.Size}}
	files, err := i.dir(layout.BlobsDir(name))
	if err != nil {
		return b, err
	}
	node, there := files[d.Digest.String()]
	if !there {
		return b, nil
	}
	f, err := i.from.File(i.ctx, node.CID)
	if err != nil {
		return b, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	b.CID = node.CID.String()
	b.Size, b.Leaves.Leaves = f.Table.Size(), len(f.Table.Leaves)
	if i.there == nil {
		return b, nil
	}
	b.Shared = new(Shared)
	for n, leaf := range f.Table.Leaves {
		if i.there.Has(leaf.Digest) {
			b.Shared.Leaves++
			b.Shared.Size += int64(f.Table.Len(n))
		}
	}
	return b, nil
}
