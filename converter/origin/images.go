package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Image is a tag below a root, or a manifest or index that has none and that
// nothing else there names.
type Image struct {
	Name string // below the root; empty where the root is the image
	Tag  string // empty for an untagged image
	layout.Manifest
}

// Images returns the images below a root, sorted by name and tag.
func (o Origin) Images(ctx context.Context, root cid.Cid) ([]Image, error) {
	names, err := layout.Names(ctx, o.entries, root)
	if err != nil {
		return nil, fmt.Errorf("reading what %s holds: %w", root, err)
	}
	var images []Image
	for _, name := range names {
		of, err := o.imagesOf(ctx, root, name)
		if err != nil {
			return nil, fmt.Errorf("reading what %s holds: %w", root, err)
		}
		images = append(images, of...)
	}
	return images, nil
}

// entries is a layout.Lister.
func (o Origin) entries(ctx context.Context, dir cid.Cid) (map[string]cid.Cid, error) {
	nodes, err := o.List(ctx, dir)
	if errors.Is(err, unixfs.ErrNotDirectory) {
		return nil, nil
	}
	entries := make(map[string]cid.Cid, len(nodes))
	for name, node := range nodes {
		entries[name] = node.CID
	}
	return entries, err
}

func (o Origin) imagesOf(ctx context.Context, root cid.Cid, name string) ([]Image, error) {
	dir, err := o.Walk(ctx, root, layout.ManifestsDir(name))
	if err != nil {
		return nil, err
	}
	entries, err := o.entries(ctx, dir)
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, tag := range layout.Tags(entries) {
		m, err := o.manifest(ctx, entries[tag])
		if err != nil {
			return nil, fmt.Errorf("manifest %s:%s: %w", name, tag, err)
		}
		images = append(images, Image{name, tag, m})
	}
	untagged, err := o.untagged(ctx, name, entries)
	images = append(images, untagged...)
	if len(images) > 0 || err != nil {
		return images, err
	}
	return o.only(ctx, root, name)
}

// only returns the image that image2ipfs keeps under a name, whose manifest is
// there by no tag and no digest.
func (o Origin) only(ctx context.Context, root cid.Cid, name string) ([]Image, error) {
	m, err := layout.FindManifest(ctx, o, layout.Image{Root: root, Name: name}, layout.Latest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", name, err)
	}
	return []Image{{name, layout.Latest, m}}, nil
}

// untagged returns the manifests of one name that are under their digest only,
// and neither below an index nor about another.
func (o Origin) untagged(ctx context.Context, name string, entries map[string]cid.Cid) ([]Image, error) {
	known := map[string]bool{} // by CID: tagged
	for file, c := range entries {
		if !layout.IsDigest(file) {
			known[c.KeyString()] = true
		}
	}
	named := map[string]bool{} // by digest
	found := map[string]Image{}
	for file, c := range entries {
		if !layout.IsDigest(file) {
			continue
		}
		m, err := o.manifest(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", file, err)
		}
		below, subject, err := links(m)
		if err != nil {
			return nil, err
		}
		for _, d := range below {
			named[d.Digest.String()] = true
		}
		if subject == nil && !known[c.KeyString()] {
			found[file] = Image{name, "", m}
		}
	}
	var images []Image
	for _, file := range slices.Sorted(maps.Keys(found)) {
		if !named[file] {
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

// links returns what an index names, and what a manifest is about.
func links(m layout.Manifest) (below []v1.Descriptor, subject *v1.Descriptor, err error) {
	var fields struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Subject   *v1.Descriptor  `json:"subject"`
	}
	if err := json.Unmarshal(m.Data, &fields); err != nil {
		return nil, nil, fmt.Errorf("reading manifest %s: %w", m.Digest, err)
	}
	return fields.Manifests, fields.Subject, nil
}
