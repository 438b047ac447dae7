package repository

import (
	"context"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Images returns the tags of all repositories in a state of the own root, sorted. It reads
// directories alone, so the media types are not known.
func (r *Repositories) Images(ctx context.Context, state cid.Cid) ([]layout.Tagged, error) {
	list := func(ctx context.Context, dir cid.Cid) (map[string]cid.Cid, error) {
		return r.store.ReadDir(ctx, dir, "")
	}
	names, err := layout.Names(ctx, list, state)
	if err != nil {
		return nil, err
	}
	var images []layout.Tagged
	for _, name := range names {
		manifests, err := r.store.ReadDir(ctx, state, layout.ManifestsDir(name))
		if err != nil {
			return nil, err
		}
		images = append(images, tagged(name, manifests)...)
	}
	return images, nil
}

// tagged returns the tags among the entries of a repository's manifests.
func tagged(name string, manifests map[string]cid.Cid) []layout.Tagged {
	digests := map[cid.Cid]digest.Digest{}
	for entry, c := range manifests {
		if d := digest.Digest(entry); layout.IsDigest(entry) && (digests[c] == "" || d.Algorithm() == digest.SHA256) {
			digests[c] = d
		}
	}
	var images []layout.Tagged
	for _, entry := range slices.Sorted(maps.Keys(manifests)) {
		if layout.CheckTag(entry) == nil {
			images = append(images, layout.Tagged{Name: name, Tag: entry, Digest: digests[manifests[entry]]})
		}
	}
	return images
}
