package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// An Image is a tag below a root, or a manifest or index that has no tag and that
// nothing else there names.
type Image struct {
	layout.Tagged
	Size int64   // bytes of the manifest or index
	File cid.Cid // of the manifest or index
}

func newImage(name, tag string, m layout.Manifest, file cid.Cid) Image {
	return Image{layout.Tagged{Name: name, Tag: tag, MediaType: m.MediaType, Digest: m.Digest}, int64(len(m.Data)), file}
}

// Descriptor returns the descriptor of the manifest or index.
func (img Image) Descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: img.MediaType, Digest: img.Digest, Size: img.Size}
}

// Images returns the images below a root, sorted by name and tag.
func (o Origin) Images(ctx context.Context, root cid.Cid) ([]Image, error) {
	names, err := o.names(ctx, root)
	if err != nil {
		return nil, err
	}
	return o.imagesOf(ctx, root, names...)
}

// names returns the names below a root that have images.
func (o Origin) names(ctx context.Context, root cid.Cid) ([]string, error) {
	names, err := layout.Names(ctx, func(ctx context.Context, dir cid.Cid) (map[string]cid.Cid, error) {
		return o.Dir(ctx, dir, "")
	}, root)
	if err != nil {
		return nil, fmt.Errorf("listing the images of %s: %w", root, err)
	}
	return names, nil
}

// imagesOf returns the images of the given names.
func (o Origin) imagesOf(ctx context.Context, root cid.Cid, names ...string) ([]Image, error) {
	var images []Image
	for _, name := range names {
		named, err := o.imagesOfName(ctx, root, name)
		if err != nil {
			return nil, fmt.Errorf("listing the images of %s: %w", root, err)
		}
		images = append(images, named...)
	}
	return images, nil
}

func (o Origin) imagesOfName(ctx context.Context, root cid.Cid, name string) ([]Image, error) {
	entries, err := o.Dir(ctx, root, layout.ManifestsDir(name))
	if len(entries) == 0 || err != nil {
		return nil, err
	}
	var images []Image
	for _, tag := range layout.Tags(entries) {
		img, err := o.image(ctx, name, tag, entries[tag])
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	untagged, err := o.untagged(ctx, name, entries)
	images = append(images, untagged...)
	if len(images) > 0 || err != nil {
		return images, err
	}
	return o.onlyImage(ctx, root, name)
}

// onlyImage returns the image that image2ipfs keeps under a name, whose manifest
// has neither a tag nor a digest.
func (o Origin) onlyImage(ctx context.Context, root cid.Cid, name string) ([]Image, error) {
	m, err := layout.FindManifest(ctx, o, layout.Image{Root: root, Name: name}, layout.Latest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", name, err)
	}
	file, err := o.Walk(ctx, m.At.Root, m.At.Path)
	return []Image{newImage(name, layout.Latest, m, file)}, err
}

// image reads the manifest of an image, which is in a file of this name. Only
// layout.Latest is also the name of aliases.
func (o Origin) image(ctx context.Context, name, file string, c cid.Cid) (Image, error) {
	m, err := o.manifest(ctx, c)
	if err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", layout.ManifestPath(name, file), err)
	}
	img := newImage(name, file, m, c)
	switch {
	case layout.IsDigest(file):
		d, err := layout.ParseDigest(file)
		if err != nil {
			return Image{}, err
		}
		if d.Algorithm().FromBytes(m.Data) != d {
			return Image{}, fmt.Errorf("manifest %s: %w", d, layout.ErrDigest)
		}
		img.Tag, img.Digest = "", d
	case slices.Contains(layout.LatestNames(layout.DockerManifest), file):
		img.Tag = layout.Latest
	}
	return img, nil
}

// untagged returns the manifests of one name that have a digest only, and that are
// neither listed by an index nor about another manifest.
func (o Origin) untagged(ctx context.Context, name string, entries map[string]cid.Cid) ([]Image, error) {
	tagged := map[cid.Cid]bool{}
	for file, c := range entries {
		if !layout.IsDigest(file) {
			tagged[c] = true
		}
	}
	listed := map[digest.Digest]bool{}
	found := map[string]Image{}
	for file, c := range entries {
		if !layout.IsDigest(file) {
			continue
		}
		m, err := o.manifest(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", file, err)
		}
		n, err := manifest.Parse(m)
		if err != nil {
			return nil, err
		}
		for _, d := range n.Manifests {
			listed[d.Digest] = true
		}
		if n.Subject == nil && !tagged[c] {
			found[file] = newImage(name, "", m, c)
		}
	}
	var images []Image
	for _, file := range slices.Sorted(maps.Keys(found)) {
		if !listed[digest.Digest(file)] {
			images = append(images, found[file])
		}
	}
	return images, nil
}

func (o Origin) manifest(ctx context.Context, c cid.Cid) (layout.Manifest, error) {
	data, err := o.Read(ctx, c, layout.MaxManifest)
	if err != nil {
		return layout.Manifest{}, err
	}
	return layout.ParseManifest(data)
}
