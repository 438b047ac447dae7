package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// An Image is a tag below a root, or a manifest or index that has no tag and that
// nothing else there names.
type Image struct {
	layout.Tagged
	Size int64   // bytes of the manifest or index
	File cid.Cid // of the manifest or index
}

func newImage(name, tag string, m layout.Manifest, size int64, file cid.Cid) Image {
	return Image{layout.Tagged{Name: name, Tag: tag, MediaType: m.MediaType, Digest: m.Digest}, size, file}
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
	l := lister{Origin: o, root: root, manifests: map[cid.Cid]*listedManifest{}}
	var images []Image
	for _, name := range names {
		named, err := l.images(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("listing the images of %s: %w", root, err)
		}
		images = append(images, named...)
	}
	return images, nil
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
	return []Image{newImage(name, layout.Latest, m, int64(len(m.Data)), file)}, err
}

// image reads the manifest of an image, which is in a file of this name.
func (o Origin) image(ctx context.Context, name, file string, c cid.Cid) (Image, error) {
	l := lister{Origin: o, manifests: map[cid.Cid]*listedManifest{}}
	return l.image(ctx, name, file, c)
}
