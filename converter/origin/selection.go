package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Selection says which of the images below a root are meant. The zero value means
// all of them.
type Selection struct {
	Name      string // below the root; empty for any name
	Reference string // a tag or digest; empty for any
}

// IsAll reports whether the selection means all images.
func (s Selection) IsAll() bool { return s == Selection{} }

// Has reports whether the selection means the image with this name, tag and digest.
func (s Selection) Has(name, tag string, d digest.Digest) bool {
	return (s.Name == "" || s.Name == name) && (s.Reference == "" || s.Reference == tag || s.Reference == d.String())
}

// LeadsTo reports whether a directory is above an image that is meant, or holds a
// part of it. Other images may be below the same name.
func (s Selection) LeadsTo(dir string) bool { return s.Name == "" || IsAbove(dir, s.Name) }

// IsAbove reports whether a directory is above the images of a name, or holds a part
// of them.
func IsAbove(dir, name string) bool {
	return dir == "" || dir == name || strings.HasPrefix(name, dir+"/") ||
		layout.IsPartsDir(dir) && path.Dir(dir) == path.Clean(name)
}

// Images returns the images that are meant. If there is none, the error says which
// images there are.
func (s Selection) Images(ctx context.Context, from Origin, root cid.Cid) ([]Image, error) {
	if err := from.Require(ctx, root); err != nil {
		return nil, err
	}
	names := []string{s.Name}
	if s.Name == "" {
		var err error
		if names, err = from.names(ctx, root); err != nil {
			return nil, err
		}
	}
	images, err := s.referenced(ctx, from, root, names)
	if len(images) > 0 || err != nil {
		return images, err
	}
	all, err := from.imagesOf(ctx, root, names...)
	if err != nil {
		return nil, err
	}
	for _, img := range all {
		if s.Has(img.Name, img.Tag, img.Digest) {
			images = append(images, img)
		}
	}
	if len(images) > 0 {
		return images, nil
	}
	return nil, s.notFound(ctx, from, root, all)
}

// referenced returns the images that have the selected tag or digest in their
// directory. These need not be listed: an index has images that have a digest only,
// and latest may be an alias.
func (s Selection) referenced(ctx context.Context, from Origin, root cid.Cid, names []string) ([]Image, error) {
	if s.Reference == "" {
		return nil, nil
	}
	files := []string{s.Reference}
	if s.Reference == layout.Latest {
		files = layout.LatestNames(layout.DockerManifest)
	}
	var images []Image
	for _, name := range names {
		entries, err := from.Dir(ctx, root, layout.ManifestsDir(name))
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(files, func(file string) bool { return entries[file].Defined() })
		if i < 0 {
			continue
		}
		img, err := from.image(ctx, name, files[i], entries[files[i]])
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// notFound returns the error for a selection of no image.
func (s Selection) notFound(ctx context.Context, from Origin, root cid.Cid, all []Image) error {
	what := "there is no image in " + Address(root)
	if !s.IsAll() {
		what = fmt.Sprintf("there is no image %s in %s", layout.Tagged{Name: s.Name, Tag: s.Reference}, Address(root))
	}
	if len(all) > 0 {
		names := make([]string, len(all))
		for i, img := range all {
			names[i] = img.String()
		}
		return fmt.Errorf("%s: there is %s", what, alternatives.List(names))
	}
	form, err := layout.Detect(ctx, from, layout.Image{Root: root, Name: s.Name})
	switch {
	case err == nil && !form.IsNative():
		return fmt.Errorf("%s: %w", what, ErrForeign)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", what, err)
	}
	return errors.New(what)
}

// ErrForeign is the error for an image in the layout of another program. Such an
// image can be served and copied only.
var ErrForeign = errors.New("there is one in the layout of another program, which can be served and copied, and not read here")
