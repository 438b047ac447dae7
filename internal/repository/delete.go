package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// DeleteTag removes a tag. Its manifest stays, under its digest and other tags. The error is
// ErrNameUnknown or ErrManifestUnknown if there is no such tag.
func (r *Repository) DeleteTag(ctx context.Context, tag string) (Change, error) {
	if layout.CheckTag(tag) != nil {
		return Change{}, fmt.Errorf("%w: %.200q", ErrManifestUnknown, tag)
	}
	return r.change(ctx, func(ctx context.Context, draft *store.Draft) error {
		x, err := r.read(ctx, draft, tag)
		if err != nil {
			return err
		}
		draft.Note(store.Action{What: "delete", Name: r.name, Reference: tag, Digest: x.node.Digest, User: r.user})
		return draft.Edit(ctx, map[string]*unixfs.Node{layout.ManifestPath(r.name, tag): nil})
	})
}

// DeleteManifest removes a manifest with all of its tags, the blobs that no other manifest of
// the repository names, and the manifest's entry in the index of its subject's referrers. The
// manifests that an index names stay. The error is ErrNameUnknown or ErrManifestUnknown if
// there is no such manifest.
func (r *Repository) DeleteManifest(ctx context.Context, d digest.Digest) (Change, error) {
	return r.change(ctx, func(ctx context.Context, draft *store.Draft) error {
		x, err := r.read(ctx, draft, d.String())
		if err != nil {
			return err
		}
		changes, err := x.removal(ctx, draft)
		if err != nil {
			return err
		}
		draft.Note(store.Action{What: "delete", Name: r.name, Reference: d.String(), Digest: x.node.Digest, User: r.user})
		return draft.Edit(ctx, changes)
	})
}

// A stored is a manifest of a repository.
type stored struct {
	*Repository
	file cid.Cid
	node *manifest.Node
}

// read reads the manifest of a tag or digest.
func (r *Repository) read(ctx context.Context, draft *store.Draft, reference string) (*stored, error) {
	c, err := draft.Lookup(ctx, layout.ManifestPath(r.name, reference))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := draft.Lookup(ctx, layout.ManifestsDir(r.name)); errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNameUnknown
		}
		return nil, fmt.Errorf("%w: %s", ErrManifestUnknown, reference)
	}
	if err != nil {
		return nil, err
	}
	n, err := readManifest(ctx, draft, c)
	return &stored{r, c, n}, err
}

func readManifest(ctx context.Context, draft *store.Draft, c cid.Cid) (*manifest.Node, error) {
	data, err := draft.ReadFile(ctx, c, layout.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return nil, err
	}
	return manifest.Parse(m)
}

// removal returns the changes by which the manifest goes, with all that is there because of it
// alone.
func (x *stored) removal(ctx context.Context, draft *store.Draft) (map[string]*unixfs.Node, error) {
	changes := map[string]*unixfs.Node{}
	for _, b := range x.node.Blobs() {
		changes[layout.BlobPath(x.name, b.Digest)] = nil
	}
	all, err := draft.List(ctx, layout.ManifestsDir(x.name))
	if err != nil {
		return nil, err
	}
	seen := cid.NewSet()
	for name, entry := range all {
		if entry.CID.Equals(x.file) {
			changes[layout.ManifestPath(x.name, name)] = nil
			continue
		}
		if !seen.Visit(entry.CID) {
			continue
		}
		named, err := x.blobsOf(ctx, draft, entry.CID)
		if err != nil {
			return nil, fmt.Errorf("reading manifest %s: %w", name, err)
		}
		for _, d := range named {
			delete(changes, layout.BlobPath(x.name, d))
		}
	}
	if x.node.Subject == nil {
		return changes, nil
	}
	path := layout.ReferrersPath(x.name, x.node.Subject.Digest)
	changes[path], err = editReferrers(ctx, draft, path, func(r manifest.Referrers) { delete(r, x.node.Digest) })
	return changes, err
}

// maxLeads is how many bytes of memory are for what manifests name.
const maxLeads = 4 << 20

func newLeads() *memo.Cache[cid.Cid, []digest.Digest] {
	return memo.NewCache(maxLeads, func(c cid.Cid, named []digest.Digest) int { return len(c.Bytes()) + 100*len(named) })
}

// blobsOf returns the blobs that a manifest names. It remembers them: to delete an image, all
// others in the repository are looked at.
func (r *Repository) blobsOf(ctx context.Context, draft *store.Draft, c cid.Cid) ([]digest.Digest, error) {
	if named, known := r.repositories.leads.Get(c); known {
		return named, nil
	}
	n, err := readManifest(ctx, draft, c)
	if err != nil {
		return nil, err
	}
	var named []digest.Digest
	for _, b := range n.Blobs() {
		named = append(named, b.Digest)
	}
	r.repositories.leads.Add(c, named)
	return named, nil
}
