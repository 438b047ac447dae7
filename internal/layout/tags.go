package layout

import (
	"slices"

	"github.com/ipfs/go-cid"
)

// MayBeAlias reports whether an image may be found by a reference that is neither one of
// its tags nor a digest.
func MayBeAlias(reference string) bool { return reference == Latest || reference == latestV2 }

// IsReservedTag reports whether a reference is where image2ipfs keeps a manifest. Below an
// address, it is not found as a tag.
func IsReservedTag(reference string) bool { return reference == latestV1 || reference == latestV2 }

// Tags returns the sorted tags among the entries of an image's manifests, without aliases.
// If latest stands beside another tag of the only tagged manifest, it may be a tag or an
// alias, and counts as an alias.
func Tags(entries map[string]cid.Cid) []string {
	var tags []string
	var first cid.Cid
	different := false
	for name, c := range entries {
		if IsReservedTag(name) || IsDigest(name) || CheckTag(name) != nil {
			continue
		}
		if tags = append(tags, name); len(tags) == 1 {
			first = c
		}
		different = different || c != first
	}
	slices.Sort(tags)
	if at, found := slices.BinarySearch(tags, Latest); found && !different && len(tags) > 1 {
		tags = slices.Delete(tags, at, at+1)
	}
	return tags
}

// literalTags returns the sorted tags among the entries of manifests that have no aliases.
func literalTags(entries map[string]cid.Cid) []string {
	var tags []string
	for name := range entries {
		if CheckTag(name) == nil {
			tags = append(tags, name)
		}
	}
	slices.Sort(tags)
	return tags
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
