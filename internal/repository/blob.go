package repository

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Blob opens a blob of the repository: one that is in its directory, or pending. The caller
// closes it. The error is ErrBlobUnknown if the repository does not have the blob.
func (r *Repository) Blob(ctx context.Context, d digest.Digest) (*store.File, error) {
	return nil, errUnsupported
}

// Mount gives the repository a blob of another image in the same store: pending until a
// manifest names it. If from.Root is undefined, from.Name is a repository of the own root.
// Otherwise the image is one that the store keeps. Nothing is asked of gateways, and cached
// blobs do not count.
//
// The caller has checked that the user may read the other image. The error is ErrBlobUnknown
// if that image is not here, or does not have the blob.
func (r *Repository) Mount(ctx context.Context, d digest.Digest, from layout.Image) error {
	return errUnsupported
}

// DeleteBlob removes a blob from the repository, pending or not. Its manifests stay as they
// are, those that name the blob too. The error is ErrBlobUnknown if the repository does not
// have it.
func (r *Repository) DeleteBlob(ctx context.Context, d digest.Digest) (Change, error) {
	return Change{}, errUnsupported
}
