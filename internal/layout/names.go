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

// Bounds of the search for names below one root. The names of all its entries are read,
// so these are what is counted.
const (
	maxDirectories = 1 << 14
	maxSearched    = 1 << 18 // entries of all directories
)

// Names returns the sorted names of the images of format 1, image2ipfs or ipdr below a
// root. The name of an image that is the root itself is empty.
func Names(ctx context.Context, list Lister, root cid.Cid) ([]string, error) {
	return findNames(ctx, list, root, func(entries map[string]cid.Cid) bool { return hasEntry(entries, manifests) })
}

// AllNames is Names for images in any form.
func AllNames(ctx context.Context, list Lister, root cid.Cid) ([]string, error) {
	return findNames(ctx, list, root, IsImage)
}

// IsImage reports whether a directory with these entries is an image in a known form.
func IsImage(entries map[string]cid.Cid) bool {
	return hasEntry(entries, manifests) || hasEntry(entries, discoFile) ||
		hasEntry(entries, v1.ImageIndexFile) && hasEntry(entries, v1.ImageBlobsDir)
}

func findNames(ctx context.Context, list Lister, root cid.Cid, isImage func(entries map[string]cid.Cid) bool) ([]string, error) {
	n := nameSearch{ctx: ctx, list: list, isImage: isImage}
	if err := n.add("", root); err != nil {
		return nil, err
	}
	slices.Sort(n.found)
	return n.found, nil
}

type nameSearch struct {
	ctx         context.Context
	list        Lister
	isImage     func(entries map[string]cid.Cid) bool
	found       []string
	directories int
	entries     int
}

func (n *nameSearch) add(name string, dir cid.Cid) error {
	if n.directories++; n.directories > maxDirectories {
		return fmt.Errorf("more than %d directories below one root", maxDirectories)
	}
	entries, err := n.list(n.ctx, dir)
	if err != nil {
		return err
	}
	if n.entries += len(entries); n.entries > maxSearched {
		return fmt.Errorf("more than %d entries of directories below one root", maxSearched)
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
