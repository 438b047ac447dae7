package tree

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// addAliases gives the only manifest of a name the alias latest. A Docker manifest gets
// the alias by which servers of image2ipfs look for it as well.
func (t *Tree) addAliases() {
	names := map[string][]layout.Tagged{}
	for _, img := range append(slices.Clone(t.Images), t.Kept...) {
		names[img.Name] = append(names[img.Name], img)
	}
	for name, images := range names {
		latest := latestOf(images)
		if latest == nil {
			continue
		}
		f, found := t.Files[layout.ManifestPath(name, latest.Digest.String())]
		if !found { // in a directory that has manifests by tag only
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
func latestOf(images []layout.Tagged) *layout.Tagged {
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

// DropAliases removes the aliases that addAliases gives.
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
		dirs[dir][file] = f.Node().CID
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

// DropOthers removes the files that are not part of one of the tree's images.
func (t *Tree) DropOthers() {
	names := map[string]bool{}
	for _, img := range t.Images {
		names[img.Name] = true
	}
	maps.DeleteFunc(t.Files, func(p string, _ File) bool {
		name, part, file := layout.Split(p)
		if part == layout.Document && !layout.IsDigest(file) && layout.CheckTag(file) != nil {
			return true
		}
		return part == layout.Other || !names[name]
	})
}

// reportLatest reports the names that lose the alias latest because they have several
// images now. A root does not tell an alias from a tag.
func (t *Tree) reportLatest(base *Tree, logf func(string, ...any)) {
	for _, p := range base.hadLatest {
		if _, there := t.Files[p]; !there {
			name := strings.TrimSuffix(path.Dir(path.Dir(p)), ".")
			logf("%s has several images now and cannot be pulled without a tag any more: tag one of them %s", cmp.Or(name, "the image"), layout.Latest)
		}
	}
}
