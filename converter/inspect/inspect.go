// Package inspect describes images on IPFS: their manifests and blobs, how many leaves
// each layer has, and how many of these a store has in other images. The other leaves are
// the cost of a copy into that store. The package reads manifests, configs and leaf
// tables, but no layers, so an image of any size is described at once.
package inspect

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// An Inspection describes images. Programs read its JSON fields, so these stay as
// they are.
type Inspection struct {
	Root   string   `json:"root"`            // as image names spell it
	CIDs   []string `json:"cids"`            // all spellings of the root
	Store  string   `json:"store,omitempty"` // that Shared is about, if any
	Images []Image  `json:"images"`
}

// An Image is a manifest or index, with all of its tags.
type Image struct {
	Name      string        `json:"name,omitempty"` // below the root
	Tags      []string      `json:"tags"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	CID       string        `json:"cid"`

	// Manifests are those that an index lists and that are present, or the image's
	// only one. An index that lists blobs is one of them, with these as layers.
	Manifests []Manifest `json:"manifests"`

	// Missing is what an index lists and is not present.
	Missing []v1.Descriptor `json:"missing,omitempty"`

	Leaves
}

// A Manifest is what a client of one platform pulls.
type Manifest struct {
	Platform  *v1.Platform  `json:"platform,omitempty"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	CID       string        `json:"cid"`
	Config    *Blob         `json:"config,omitempty"`
	Layers    []Blob        `json:"layers"`
}

// A Blob is a config or layer.
type Blob struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	CID       string        `json:"cid,omitempty"` // empty if it is missing
	Leaves
}

// Leaves counts the leaves of a blob, or of all blobs of an image, each blob once.
type Leaves struct {
	Size   int64   `json:"size"` // bytes
	Leaves int     `json:"leaves"`
	Shared *Shared `json:"shared,omitempty"`
}

// Shared counts the leaves that a store has in other images.
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

// Inspect describes images below a root. It reads no layer. with may be nil.
func Inspect(ctx context.Context, from origin.Origin, root cid.Cid, s origin.Selection, with *Comparison) (*Inspection, error) {
	images, err := s.Images(ctx, from, root)
	if err != nil {
		return nil, err
	}
	i := &inspector{walker: walker{from: from, root: root}, platforms: map[cid.Cid]*manifest.Config{}}
	inspection := &Inspection{Root: origin.Address(root), Images: []Image{}}
	if with != nil {
		inspection.Store = with.Store.Dir()
		if i.shared, err = otherLeaves(ctx, from, root, images, with); err != nil {
			return nil, err
		}
	}
	known := map[imageKey]int{} // indexes of inspection.Images
	for _, img := range images {
		n, isKnown := known[keyOf(img)]
		if !isKnown {
			described, err := i.image(ctx, img)
			if err != nil {
				return nil, fmt.Errorf("inspecting %s@%s: %w", img.Name, img.Digest, err)
			}
			n, inspection.Images = len(inspection.Images), append(inspection.Images, described)
			known[keyOf(img)] = n
		}
		if img.Tag != "" {
			inspection.Images[n].Tags = append(inspection.Images[n].Tags, img.Tag)
		}
	}
	return inspection, nil
}

// maxBlobs is how many configs and layers are described, and kept in memory, for all
// images together. Each manifest that names a blob describes it.
const maxBlobs = 1 << 18

// An inspector describes the images below one root.
type inspector struct {
	walker
	shared    *store.LeafSet // or nil
	blobs     int            // that were described
	platforms map[cid.Cid]*manifest.Config
}

func (i *inspector) image(ctx context.Context, img origin.Image) (Image, error) {
	described := Image{
		Name: img.Name, Tags: []string{}, MediaType: img.MediaType, Digest: img.Digest,
		CID: img.File.String(), Manifests: []Manifest{},
	}
	blobs := map[digest.Digest]Leaves{}
	err := i.walk(ctx, img, func(dir *origin.NameDir, s manifest.Step) error {
		for _, b := range s.Below {
			if b.Missing != nil || !manifest.IsManifest(b.Descriptor) && !dir.Blobs[b.Digest.String()].Defined() {
				described.Missing = append(described.Missing, b.Descriptor)
			}
		}
		if len(blobsOf(s)) == 0 && s.IsIndex() {
			return nil
		}
		m, err := i.manifest(ctx, dir, s)
		if err != nil {
			return err
		}
		described.Manifests = append(described.Manifests, m)
		for _, b := range m.blobs() {
			blobs[b.Digest] = b.Leaves
		}
		return nil
	})
	for _, l := range blobs {
		described.add(l)
	}
	return described, err
}

func (m *Manifest) blobs() []Blob {
	if m.Config == nil {
		return m.Layers
	}
	return append([]Blob{*m.Config}, m.Layers...)
}

// manifest describes a manifest, or an index that lists blobs.
func (i *inspector) manifest(ctx context.Context, dir *origin.NameDir, s manifest.Step) (Manifest, error) {
	described := Manifest{
		Platform: s.Descriptor.Platform, MediaType: s.MediaType, Digest: s.Descriptor.Digest,
		Size: int64(len(s.Data)), CID: dir.Manifests[s.Descriptor.Digest.String()].String(), Layers: []Blob{},
	}
	layers := s.Layers
	if s.IsIndex() {
		layers = blobsOf(s)
	}
	for _, d := range layers {
		layer, err := i.blob(ctx, dir, d)
		if err != nil {
			return described, err
		}
		described.Layers = append(described.Layers, layer)
	}
	if s.Config == nil {
		return described, nil
	}
	config, err := i.blob(ctx, dir, *s.Config)
	if err != nil {
		return described, err
	}
	described.Config = &config
	if described.Platform == nil {
		described.Platform = i.platform(ctx, dir, s.Node)
	}
	return described, nil
}

// platform returns what the config says an image is for. It is nil for an artifact, or
// if the config cannot be read.
func (i *inspector) platform(ctx context.Context, dir *origin.NameDir, m *manifest.Node) *v1.Platform {
	file := dir.Blobs[m.Config.Digest.String()]
	if !file.Defined() {
		return nil
	}
	config, known := i.platforms[file]
	if !known {
		if data, err := i.from.Read(ctx, file, layout.MaxManifest); err == nil {
			config, _ = manifest.ReadConfig(data)
		}
		i.platforms[file] = config.WithoutDiffIDs()
	}
	if config == nil {
		return nil
	}
	judged, err := m.Judge(config, nil)
	if err != nil || judged == nil || judged.OS == "" {
		return nil
	}
	return &judged.Platform
}

func (i *inspector) blob(ctx context.Context, dir *origin.NameDir, d v1.Descriptor) (Blob, error) {
	if i.blobs++; i.blobs > maxBlobs {
		return Blob{}, fmt.Errorf("the manifests name more than %d blobs: inspect one image, by its name and tag", maxBlobs)
	}
	b := Blob{MediaType: d.MediaType, Digest: d.Digest, Leaves: Leaves{Size: d.Size}}
	file := dir.Blobs[d.Digest.String()]
	if !file.Defined() {
		return b, nil
	}
	f, err := i.from.File(ctx, file)
	if err != nil {
		return b, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	b.CID = file.String()
	b.Size, b.Leaves.Leaves = f.Table.Size(), len(f.Table.Leaves)
	if i.shared == nil {
		return b, nil
	}
	b.Shared = new(Shared)
	for n, leaf := range f.Table.Leaves {
		if i.shared.Has(leaf.Digest) {
			b.Shared.Leaves++
			b.Shared.Size += int64(f.Table.Len(n))
		}
	}
	return b, nil
}
