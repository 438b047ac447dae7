package inspect

import (
	"context"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A Comparison is a comparison with the leaves of a store.
type Comparison struct {
	Store *store.Store
	Same  bool // the images are in that store themselves, and are not counted
}

// otherLeaves returns the leaves of a store, without those of blobs that only the given
// images have.
func otherLeaves(ctx context.Context, from origin.Origin, root cid.Cid, images []origin.Image, with *Comparison) (*store.LeafSet, error) {
	if !with.Same {
		return with.Store.Leaves(ctx)
	}
	own, err := ownBlobs(ctx, from, root, images)
	if err != nil {
		return nil, err
	}
	if err := deleteShared(ctx, own, with.Store, root); err != nil {
		return nil, err
	}
	return with.Store.Leaves(ctx, slices.Collect(maps.Values(own))...)
}

// ownBlobs returns the blobs of the images, by CID, that no unrelated image below the
// same root has.
func ownBlobs(ctx context.Context, from origin.Origin, root cid.Cid, images []origin.Image) (map[string]cid.Cid, error) {
	w := walker{from: from, root: root}
	own := map[string]cid.Cid{}
	selected := map[imageKey]bool{}
	for _, img := range images {
		if selected[keyOf(img)] {
			continue // another tag
		}
		blobs, _, err := w.files(ctx, img)
		if err != nil {
			return nil, err
		}
		maps.Copy(own, blobs)
		selected[keyOf(img)] = true
	}
	all, err := from.Images(ctx, root)
	if err != nil {
		return nil, err
	}
	seen := map[imageKey]bool{}
	for _, img := range all {
		if seen[keyOf(img)] || selected[keyOf(img)] {
			continue // another tag, or related to itself
		}
		seen[keyOf(img)] = true
		blobs, manifests, err := w.files(ctx, img)
		if err != nil {
			return nil, err
		}
		related := slices.ContainsFunc(manifests, func(d digest.Digest) bool { return selected[imageKey{img.Name, d}] })
		if related {
			continue
		}
		for key := range blobs {
			delete(own, key)
		}
	}
	return own, nil
}

// files returns the blobs of an image, by CID, and the digests of its manifests.
func (w *walker) files(ctx context.Context, img origin.Image) (blobs map[string]cid.Cid, manifests []digest.Digest, err error) {
	blobs = map[string]cid.Cid{}
	err = w.walk(ctx, img, func(dir *origin.NameDir, s manifest.Step) error {
		manifests = append(manifests, s.Descriptor.Digest)
		for _, d := range blobsOf(s) {
			if file := dir.Blobs[d.Digest.String()]; file.Defined() {
				blobs[file.KeyString()] = file
			}
		}
		return nil
	})
	return blobs, manifests, err
}

// deleteShared deletes the blobs that other roots of the store have as well. Damaged
// roots do not count.
func deleteShared(ctx context.Context, own map[string]cid.Cid, s *store.Store, root cid.Cid) error {
	from, err := origin.FromStore(s.Dir())
	if err != nil {
		return err
	}
	records, _ := s.Images(ctx)
	for _, r := range records {
		other, err := cidname.ParseAny(r.Root)
		if err != nil || origin.Address(other) == origin.Address(root) {
			continue
		}
		for _, img := range r.Images {
			blobs, _ := from.Dir(ctx, other, layout.BlobsDir(img.Name))
			for _, file := range blobs {
				delete(own, file.KeyString())
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
