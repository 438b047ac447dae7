package inspect

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// leaves returns the leaves that a store has in other images than the given ones:
// all but those of blobs that these alone have.
func (i *inspector) leaves(with *Comparison, images []origin.Image) (*store.LeafSet, error) {
	if !with.Same {
		return with.Store.Leaves(i.ctx)
	}
	own, err := i.own(images)
	if err != nil {
		return nil, err
	}
	if err := i.dropOthers(own, with.Store); err != nil {
		return nil, err
	}
	except := make([]cid.Cid, 0, len(own))
	for _, c := range own {
		except = append(except, c)
	}
	return with.Store.Leaves(i.ctx, except...)
}

// own returns the blobs of the images, by CID, that no other image below the root
// has.
func (i *inspector) own(images []origin.Image) (map[string]cid.Cid, error) {
	own := map[string]cid.Cid{}
	ours := map[string]bool{} // manifests, by name and digest
	for _, img := range images {
		if err := i.eachBlob(img, func(c cid.Cid) { own[c.KeyString()] = c }); err != nil {
			return nil, err
		}
		ours[img.Name+"@"+img.Digest.String()] = true
	}
	all, err := i.from.Images(i.ctx, i.root)
	if err != nil {
		return nil, err
	}
	for _, img := range all {
		manifests, _, err := i.manifests(img)
		if err != nil {
			return nil, err
		}
		related := ours[img.Name+"@"+img.Digest.String()]
		for _, m := range manifests {
			related = related || ours[img.Name+"@"+m.Digest.String()]
		}
		if related {
			continue
		}
		if err := i.eachBlob(img, func(c cid.Cid) { delete(own, c.KeyString()) }); err != nil {
			return nil, err
		}
	}
	return own, nil
}

func (i *inspector) eachBlob(img origin.Image, visit func(cid.Cid)) error {
	manifests, _, err := i.manifests(img)
	if err != nil {
		return err
	}
	files, err := i.dir(layout.BlobsDir(img.Name))
	if err != nil {
		return err
	}
	for _, m := range manifests {
		for _, d := range m.Parts() {
			if node, there := files[d.Digest.String()]; there {
				visit(node.CID)
			}
		}
	}
	return nil
}

// dropOthers drops the blobs that other roots of the store have as well. What is
// damaged there does not matter here.
func (i *inspector) dropOthers(own map[string]cid.Cid, s *store.Store) error {
	records, _ := s.Images(i.ctx)
	for _, r := range records {
		root, err := cidname.ParseAny(r.Root)
		if err != nil || origin.Address(root) == origin.Address(i.root) {
			continue
		}
		for _, img := range r.Images {
			blobs, _ := listIfThere(i.ctx, i.from, root, layout.BlobsDir(img.Name))
			for _, node := range blobs {
				delete(own, node.CID.KeyString())
			}
		}
		if i.ctx.Err() != nil {
			return context.Cause(i.ctx)
		}
	}
	return nil
}
