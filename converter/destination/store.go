// Package destination puts trees of images where they are kept: into a store, into
// a Kubo node, a CAR file, or a directory of plain files. It is the way back of
// package origin.
//
// A destination has a temporary directory on the disk that it writes to, where the
// tree's blobs wait, so that putting them in their place is a matter of renaming.
// What it has not committed goes when it is closed.
package destination

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A Store is a store on disk into which images are put. What comes is there
// afterwards, to the byte, and what had rotted of it is mended. Only of a root that
// images are put onto, the blobs are taken to be what they were: reading all that it
// holds, to add one image, would take ever longer.
type Store struct {
	to    *store.Import
	store *store.Store
	there origin.Origin // the same
}

// ToStore returns a destination in the store in dir, which is made if need be.
func ToStore(dir string) (*Store, error) {
	s := store.Open(dir)
	im, err := s.Begin()
	if err != nil {
		return nil, err
	}
	there, err := origin.FromStore(dir)
	if err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return &Store{im, s, there}, nil
}

// TempDir is part of converter.Destination.
func (d *Store) TempDir() string { return d.to.TempDir() }

// Close is part of converter.Destination.
func (d *Store) Close() error { return d.to.Close() }

// Commit is part of converter.Destination.
func (d *Store) Commit(ctx context.Context, t *tree.Tree) error {
	blobs, err := d.fetch(ctx, t.Blobs())
	if err != nil {
		return err
	}
	if err := d.to.Lock(ctx); err != nil {
		return err
	}
	for _, b := range blobs {
		if err := d.put(ctx, b); err != nil {
			return err
		}
	}
	for _, nd := range append(t.SmallFiles(), t.Directories...) {
		if err := d.to.Node(nd); err != nil {
			return fmt.Errorf("storing the image's directory: %w", err)
		}
	}
	root, err := cidname.Format(t.Root.CID)
	if err != nil {
		return err
	}
	record := store.Record{Root: root, Created: time.Now().UTC().Truncate(time.Second)}
	for _, img := range append(slices.Clone(t.Kept), t.Images...) {
		record.Images = append(record.Images, store.Image{Name: img.Name, Tag: img.Tag, MediaType: img.MediaType, Digest: img.Digest})
	}
	return d.to.Commit(t.Root.CID, record)
}

// fetch returns the blobs with files here, but for those that the store has.
// That takes as long as they are large, so it is done before the store is
// locked.
func (d *Store) fetch(ctx context.Context, blobs []*blob.Blob) ([]*blob.Blob, error) {
	for i, b := range blobs {
		if b.Path != "" || d.has(ctx, b) {
			continue
		}
		var err error
		if blobs[i], err = b.Fetch(ctx, d.TempDir()); err != nil {
			return nil, err
		}
	}
	return blobs, nil
}

// has reports whether the store has a blob, and every byte of it.
func (d *Store) has(ctx context.Context, b *blob.Blob) bool {
	if !d.to.Has(b.File.CID) {
		return false
	}
	if b.OfBase {
		return true
	}
	if d.there.Check(b.File) != nil {
		return false
	}
	r, err := d.there.Open(ctx, b.File)
	if err != nil {
		return false
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, ctxio.Reader(ctx, r))
	return err == nil
}

// put stores a blob that is not there. One that was when fetch looked may have
// been collected.
func (d *Store) put(ctx context.Context, b *blob.Blob) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.Path == "" {
		if d.to.Has(b.File.CID) {
			return nil
		}
		var err error
		if b, err = b.Fetch(ctx, d.TempDir()); err != nil {
			return err
		}
	}
	return d.to.Blob(b.Path, b.Digest, b.File)
}

// Reused returns how many bytes of a tree are in leaves that the store has, or that
// the tree has more than once: all but the leaves that the store lacks, each once.
// Where there are more than so many blobs to look at, it returns -1.
func (d *Store) Reused(ctx context.Context, t *tree.Tree, most int) (int64, error) {
	tables, err := d.store.Tables()
	if err != nil || tables > most {
		return -1, err
	}
	reused := int64(0)
	lacking := map[[sha256.Size]byte]int{}
	for _, b := range t.Blobs() {
		for i, leaf := range b.File.Table.Leaves {
			lacking[leaf.Digest] = b.File.Table.Len(i)
		}
		reused += b.Size()
	}
	err = d.store.EachLeaf(ctx, func(digest [sha256.Size]byte) { delete(lacking, digest) })
	for _, n := range lacking {
		reused -= int64(n)
	}
	return reused, err
}
