package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Blob opens a blob of the repository: one that is in its directory, or pending. The caller
// closes it. The error is ErrBlobUnknown if the repository does not have the blob.
func (r *Repository) Blob(ctx context.Context, d digest.Digest) (*store.File, error) {
	c, err := r.find(ctx, d)
	if err != nil {
		return nil, err
	}
	f, err := r.repositories.store.OpenFile(c)
	if errors.Is(err, store.ErrLacking) { // it was damaged, and must be uploaded again
		err = fmt.Errorf("%w: %s", ErrBlobUnknown, d)
	}
	return f, err
}

// find returns the file of a blob of the repository.
func (r *Repository) find(ctx context.Context, d digest.Digest) (cid.Cid, error) {
	current, err := r.root().Current()
	if err == nil {
		var trail []cid.Cid
		if trail, err = r.repositories.store.Trail(ctx, current, layout.BlobPath(r.name, d)); err == nil {
			return trail[len(trail)-1], nil
		}
	}
	if !errors.Is(err, fs.ErrNotExist) || current.Defined() && errors.Is(err, store.ErrLacking) {
		return cid.Undef, err // a directory that is missing proves nothing
	}
	c, err := r.root().Pending(r.name, d)
	if errors.Is(err, store.ErrLacking) {
		err = fmt.Errorf("%w: %s", ErrBlobUnknown, d)
	}
	return c, err
}

// Mount gives the repository a blob of another image in the same store: pending until a
// manifest names it. If from.Root is undefined, from.Name is a repository of the own root.
// Otherwise the image is one that the store keeps. Nothing is asked of gateways, and cached
// blobs do not count.
//
// The caller has checked that the user may read the other image. The error is ErrBlobUnknown
// if that image is not here, or does not have the blob.
func (r *Repository) Mount(ctx context.Context, d digest.Digest, from layout.Image) error {
	c, err := r.findIn(ctx, d, from)
	if err != nil {
		return err
	}
	im, err := r.repositories.store.BeginImport()
	if err != nil {
		return err
	}
	defer im.Close() // what it leaves is removed by the next import
	if err := im.Lock(ctx); err != nil {
		return err
	}
	if !im.Has(c) {
		return fmt.Errorf("%w: %s", ErrBlobUnknown, d)
	}
	return im.Pend(r.name, d, c)
}

// findIn returns the file of a blob of another image.
func (r *Repository) findIn(ctx context.Context, d digest.Digest, from layout.Image) (cid.Cid, error) {
	if !from.Root.Defined() {
		other := &Repository{r.repositories, from.Name, r.user}
		return other.find(ctx, d)
	}
	f, err := r.repositories.store.Open(ctx, from.Root, layout.BlobPath(from.Name, d))
	if errors.Is(err, fs.ErrNotExist) {
		return cid.Undef, fmt.Errorf("%w: %s", ErrBlobUnknown, d)
	}
	if err != nil {
		return cid.Undef, err
	}
	defer f.Close()
	is, err := f.HasDigest(ctx, d) // anybody can publish a directory with a false name in it
	if err == nil && !is {
		err = fmt.Errorf("%w: %s", ErrBlobUnknown, d)
	}
	return f.CID, err
}

// DeleteBlob removes a blob from the repository, pending or not. Its manifests stay as they
// are, those that name the blob too. The error is ErrBlobUnknown if the repository does not
// have it.
func (r *Repository) DeleteBlob(ctx context.Context, d digest.Digest) (Change, error) {
	wasPending := true
	if err := r.root().Unpend(r.name, d); errors.Is(err, store.ErrLacking) {
		wasPending = false
	} else if err != nil {
		return Change{}, err
	}
	return r.change(ctx, func(ctx context.Context, draft *store.Draft) error {
		path := layout.BlobPath(r.name, d)
		if _, err := draft.Lookup(ctx, path); errors.Is(err, fs.ErrNotExist) && wasPending {
			return nil
		} else if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s", ErrBlobUnknown, d)
		} else if err != nil {
			return err
		}
		draft.Note(store.Action{What: "delete", Name: r.name, Reference: d.String(), Digest: d, User: r.user})
		return draft.Edit(ctx, map[string]*unixfs.Node{path: nil})
	})
}
