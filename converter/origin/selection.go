package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Selection says which of the images below a root are meant. The zero one
// means all of them.
type Selection struct {
	Name      string // below the root
	Reference string // a tag or digest; empty for all that is under the name
}

func (s Selection) all() bool { return s == Selection{} }

func (s Selection) has(img Image) bool { return s.all() || img.Name == s.Name }

// LeadsTo reports whether a directory is above one of the images, or a part of
// it. Others may be below the same name.
func (s Selection) LeadsTo(dir string) bool {
	return s.all() || dir == "" || dir == s.Name || strings.HasPrefix(s.Name, dir+"/") ||
		layout.IsPartsDir(dir) && path.Dir(dir) == path.Clean(s.Name)
}

// Images returns the images that are meant, of which there must be one.
func (s Selection) Images(ctx context.Context, from Origin, root cid.Cid) ([]Image, error) {
	if s.Reference != "" {
		img, err := s.Image(ctx, from, root)
		return []Image{img}, err
	}
	all, err := from.Images(ctx, root)
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, img := range all {
		if s.has(img) {
			images = append(images, img)
		}
	}
	switch {
	case len(images) > 0:
		return images, nil
	case s.all():
		return nil, fmt.Errorf("there is no image below %s", Address(root))
	}
	return nil, fmt.Errorf("there is no image %s below %s", s.Name, Address(root))
}

// Image returns the one image that a tag or digest names.
func (s Selection) Image(ctx context.Context, from Origin, root cid.Cid) (Image, error) {
	m, err := layout.FindManifest(ctx, from, layout.Image{Root: root, Name: s.Name}, s.Reference)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("there is no %s: %w", layout.ManifestPath(s.Name, s.Reference), err)
	}
	if err != nil {
		return Image{}, fmt.Errorf("looking for %s: %w", layout.ManifestPath(s.Name, s.Reference), err)
	}
	img := Image{Name: s.Name, Manifest: m}
	if !layout.IsDigest(s.Reference) {
		img.Tag = s.Reference
	}
	return img, nil
}
