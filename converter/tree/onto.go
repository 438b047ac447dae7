package tree

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// ReadBase reads a base without its aliases. The images that are added decide which
// aliases the new root has.
func ReadBase(ctx context.Context, from origin.Origin, root cid.Cid, p blob.Progress) (*Tree, error) {
	t, err := Read(ctx, from, root, p)
	if err != nil {
		return nil, err
	}
	for _, f := range t.Files {
		if f.Blob != nil {
			f.Blob.OfBase = true
		}
	}
	t.DropAliases()
	return t, nil
}

// putOnto adds the files of the base. A tag that both have means the new image, and the
// old manifest stays under its digest.
func (t *Tree) putOnto(base *Tree, ws *blob.Workspace, logf func(string, ...any)) error {
	for _, img := range base.Images {
		t.keep(img, logf)
	}
	for _, p := range slices.Sorted(maps.Keys(base.Files)) {
		old := base.Files[p]
		now, both := t.Files[p]
		switch {
		case !both:
			t.Files[p] = old
		case layout.IsReferrersPath(p):
			merged, err := mergeReferrers(old, now, ws)
			if err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			t.Files[p] = merged
		}
	}
	return nil
}

// keep adds an image of the base to Kept, unless a new image takes its tag.
func (t *Tree) keep(old layout.Tagged, logf func(string, ...any)) {
	for _, img := range t.Images {
		if img.Name != old.Name || img.Tag != old.Tag {
			continue
		}
		if img.Digest == old.Digest {
			return
		}
		if img.Tag != "" {
			logf("%s:%s moves from %s to %s", img.Name, img.Tag, old.Digest, img.Digest)
			return
		}
	}
	t.Kept = append(t.Kept, old)
}
