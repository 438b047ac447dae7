package tree

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// alias gives a name's only manifest the name latest, and a Docker manifest of
// that name also the one by which image2ipfs servers look for it.
func (t *Tree) alias() {
	names := map[string][]Image{}
	for _, img := range append(slices.Clone(t.Images), t.Kept...) {
		names[img.Name] = append(names[img.Name], img)
	}
	for name, images := range names {
		latest := latestOf(images)
		if latest == nil {
			continue
		}
		f, found := t.Files[layout.ManifestPath(name, latest.Digest.String())]
		if !found { // in a layout that keeps manifests by tag only
			continue
		}
		for _, tag := range layout.LatestNames(latest.MediaType) {
			path := layout.ManifestPath(name, tag)
			if _, taken := t.Files[path]; !taken {
				t.Files[path] = f
			}
		}
	}
}

// latestOf returns the image with the tag latest, or the only one.
func latestOf(images []Image) *Image {
	for i, img := range images {
		if img.Tag == layout.Latest {
			return &images[i]
		}
	}
	for _, img := range images {
		if img.Digest != images[0].Digest {
			return nil
		}
	}
	return &images[0]
}

// DropAliases removes the names that alias gives.
func (t *Tree) DropAliases() {
	dirs := map[string]map[string]cid.Cid{}
	for p, f := range t.Files {
		dir, file := path.Split(p)
		if layout.IsBlobPath(p) {
			continue
		}
		if dirs[dir] == nil {
			dirs[dir] = map[string]cid.Cid{}
		}
		dirs[dir][file] = f.node().CID
	}
	for dir, entries := range dirs {
		for _, alias := range layout.Aliases(entries) {
			delete(t.Files, dir+alias)
			if alias == layout.Latest {
				t.hadLatest = append(t.hadLatest, dir+alias)
			}
		}
	}
	slices.Sort(t.hadLatest)
}

// noteLatest says of which images none goes by the name latest any more: there
// are several now, and which one was tagged so, if any was, a root does not say.
func (t *Tree) noteLatest(base *Tree, logf func(string, ...any)) {
	for _, p := range base.hadLatest {
		if _, there := t.Files[p]; !there {
			name := strings.TrimSuffix(path.Dir(path.Dir(p)), ".")
			logf("%s cannot be pulled without a tag any more, since it has several: give one of them the tag %s with --tag", cmp.Or(name, "the image"), layout.Latest)
		}
	}
}
