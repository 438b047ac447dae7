package layout

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Lister returns the entries of a directory by name, or nil where the CID is
// that of a file.
type Lister func(ctx context.Context, dir cid.Cid) (map[string]cid.Cid, error)

// maxDirectories is how many directories below one root are searched for names at most.
const maxDirectories = 1 << 14

// Names returns the sorted names of the images of format 1, image2ipfs or ipdr below a
// root. The name of an image that is the root itself is empty.
func Names(ctx context.Context, list Lister, root cid.Cid) ([]string, error) {
	return findNames(ctx, list, root, func(entries map[string]cid.Cid) bool { return has(entries, manifests) })
}

// AllNames is Names for images in any form.
func AllNames(ctx context.Context, list Lister, root cid.Cid) ([]string, error) {
	return findNames(ctx, list, root, func(entries map[string]cid.Cid) bool {
		return has(entries, manifests) || has(entries, discoFile) ||
			has(entries, v1.ImageIndexFile) && has(entries, v1.ImageBlobsDir)
	})
}

func has(entries map[string]cid.Cid, name string) bool {
	_, ok := entries[name]
	return ok
}

func findNames(ctx context.Context, list Lister, root cid.Cid, isImage func(entries map[string]cid.Cid) bool) ([]string, error) {
	n := names{ctx: ctx, list: list, isImage: isImage}
	if err := n.add("", root); err != nil {
		return nil, err
	}
	slices.Sort(n.found)
	return n.found, nil
}

type names struct {
	ctx         context.Context
	list        Lister
	isImage     func(entries map[string]cid.Cid) bool
	found       []string
	directories int
}

func (n *names) add(name string, dir cid.Cid) error {
	if n.directories++; n.directories > maxDirectories {
		return fmt.Errorf("more than %d directories below one root", maxDirectories)
	}
	entries, err := n.list(n.ctx, dir)
	if err != nil {
		return err
	}
	if n.isImage(entries) {
		n.found = append(n.found, name)
	}
	for _, c := range slices.Sorted(maps.Keys(entries)) {
		below := path.Join(name, c)
		if len(below) > MaxName || CheckName(below) != nil {
			continue
		}
		if err := n.add(below, entries[c]); err != nil {
			return err
		}
	}
	return nil
}

// MayBeAlias reports whether an image may be found by a reference that is neither one of
// its tags nor a digest.
func MayBeAlias(reference string) bool { return reference == Latest || reference == latestV2 }

// Tags returns the sorted tags among the entries of an image's manifests, without aliases.
// If latest stands beside another tag of the only tagged manifest, it may be a tag or an
// alias, and counts as an alias.
func Tags(entries map[string]cid.Cid) []string {
	tagged := map[string]cid.Cid{}
	for name, c := range entries {
		if name != latestV1 && name != latestV2 && !IsDigest(name) && CheckTag(name) == nil {
			tagged[name] = c
		}
	}
	different := map[cid.Cid]struct{}{}
	for _, c := range tagged {
		different[c] = struct{}{}
	}
	if len(different) == 1 && len(tagged) > 1 {
		delete(tagged, Latest)
	}
	return slices.Sorted(maps.Keys(tagged))
}

// Aliases returns the entries of an image's manifests that are not tags, but further names
// of a manifest that has a tag or a digest.
func Aliases(entries map[string]cid.Cid) []string {
	tags := Tags(entries)
	var aliases []string
	for _, alias := range []string{Latest, latestV2} {
		c, there := entries[alias]
		if !there || slices.Contains(tags, alias) {
			continue
		}
		for name, other := range entries {
			if name != Latest && name != latestV2 && other.Equals(c) {
				aliases = append(aliases, alias)
				break
			}
		}
	}
	return aliases
}
