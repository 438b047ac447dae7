package origin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// Bounds of the listing of one root. A root of few blocks can have any number of tags,
// and of large manifests.
const (
	maxListed = 1 << 30 // bytes of manifests that are read
	maxNamed  = 1 << 20 // manifests that indexes name, which are kept in memory
)

// A lister lists the images below one root. It reads each manifest once, and keeps of it
// what a list needs.
type lister struct {
	Origin
	root      cid.Cid
	manifests map[cid.Cid]*listedManifest
	bytes     int64 // of the manifests
	named     int   // by indexes
}

// A listedManifest is what a list needs of a manifest.
type listedManifest struct {
	layout.Manifest // without its data
	size            int64
	sums            map[digest.Algorithm]digest.Digest
	err             error // why it cannot be followed

	isReferrer bool
	names      []digest.Digest // that an index names
}

// read reads a manifest once. sum is an algorithm of which its digest is wanted.
func (l *lister) read(ctx context.Context, c cid.Cid, sum digest.Algorithm) (*listedManifest, error) {
	if m := l.manifests[c]; m != nil && m.sums[sum] != "" {
		return m, nil
	}
	data, err := l.Read(ctx, c, layout.MaxManifest)
	if err != nil {
		return nil, err
	}
	if l.bytes += int64(len(data)); l.bytes > maxListed {
		return nil, fmt.Errorf("the manifests have more than %d bytes together", maxListed)
	}
	parsed, err := layout.ParseManifest(data)
	if err != nil {
		return nil, err
	}
	m := &listedManifest{Manifest: parsed, size: int64(len(data)), sums: map[digest.Algorithm]digest.Digest{digest.SHA256: parsed.Digest}}
	if sum != digest.SHA256 {
		m.sums[sum] = sum.FromBytes(data)
	}
	m.Data = nil
	n, err := manifest.Parse(parsed)
	if m.err = err; err == nil {
		m.isReferrer = n.Subject != nil
		for _, d := range n.Manifests {
			m.names = append(m.names, d.Digest)
		}
	}
	if l.named += len(m.names); l.named > maxNamed {
		return nil, fmt.Errorf("the indexes name more than %d manifests", maxNamed)
	}
	l.manifests[c] = m
	return m, nil
}

// images returns the images of a name, the tagged ones first.
func (l *lister) images(ctx context.Context, name string) ([]Image, error) {
	entries, err := l.Dir(ctx, l.root, layout.ManifestsDir(name))
	if len(entries) == 0 || err != nil {
		return nil, err
	}
	untagged, err := l.untagged(ctx, name, entries)
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, tag := range layout.Tags(entries) {
		img, err := l.image(ctx, name, tag, entries[tag])
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	if images = append(images, untagged...); len(images) > 0 {
		return images, nil
	}
	return l.onlyImage(ctx, l.root, name)
}

// untagged returns the manifests of one name that have a digest only, and that are
// neither listed by an index nor about another manifest.
func (l *lister) untagged(ctx context.Context, name string, entries map[string]cid.Cid) ([]Image, error) {
	tagged := map[cid.Cid]bool{}
	for file, c := range entries {
		if !layout.IsDigest(file) {
			tagged[c] = true
		}
	}
	listed := map[digest.Digest]bool{}
	found := map[string]Image{}
	for _, file := range slices.Sorted(maps.Keys(entries)) {
		c := entries[file]
		if !layout.IsDigest(file) {
			continue
		}
		m, err := l.read(ctx, c, digest.SHA256)
		if err == nil {
			err = m.err
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", file, err)
		}
		for _, d := range m.names {
			listed[d] = true
		}
		if !m.isReferrer && !tagged[c] {
			found[file] = newImage(name, "", m.Manifest, m.size, c)
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

// image returns the image whose manifest is in a file of this name. Only layout.Latest
// is also the name of aliases.
func (l *lister) image(ctx context.Context, name, file string, c cid.Cid) (Image, error) {
	d, algorithm := digest.Digest(""), digest.SHA256
	if layout.IsDigest(file) {
		var err error
		if d, err = layout.ParseDigest(file); err != nil {
			return Image{}, err
		}
		algorithm = d.Algorithm()
	}
	m, err := l.read(ctx, c, algorithm)
	if err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", layout.ManifestPath(name, file), err)
	}
	img := newImage(name, file, m.Manifest, m.size, c)
	switch {
	case d != "" && m.sums[algorithm] != d:
		return Image{}, fmt.Errorf("manifest %s: %w", d, layout.ErrDigest)
	case d != "":
		img.Tag, img.Digest = "", d
	case slices.Contains(layout.LatestNames(layout.DockerManifest), file):
		img.Tag = layout.Latest
	}
	return img, nil
}
