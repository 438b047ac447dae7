package converter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// toStore puts images into a store on disk.
type toStore struct {
	*store.Import
	store *store.Store
}

// ToStore returns a destination in the store in dir, which is made if need be.
func ToStore(dir string) (Destination, error) {
	s := store.Open(dir)
	im, err := s.Begin()
	if err != nil {
		return nil, err
	}
	return toStore{im, s}, nil
}

func (d toStore) Commit(ctx context.Context, t *Tree) error {
	blobs, err := d.fetch(ctx, t.Blobs())
	if err != nil {
		return err
	}
	if err := d.Lock(ctx); err != nil {
		return err
	}
	for _, b := range blobs {
		if err := d.put(ctx, b); err != nil {
			return err
		}
	}
	for _, nd := range append(t.SmallFiles(), t.Directories...) {
		if err := d.Node(nd); err != nil {
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
	return d.Import.Commit(t.Root.CID, record)
}

// fetch returns the blobs with files here, but for those that the store has.
// That takes as long as they are large, so it is done before the store is
// locked.
func (d toStore) fetch(ctx context.Context, blobs []*Blob) ([]*Blob, error) {
	for i, b := range blobs {
		if b.Path != "" || d.Has(b.File.CID) {
			continue
		}
		var err error
		if blobs[i], err = b.fetch(ctx, d.TempDir()); err != nil {
			return nil, err
		}
	}
	return blobs, nil
}

// put stores a blob that is not there. One that was when fetch looked may have
// been collected.
func (d toStore) put(ctx context.Context, b *Blob) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.Path == "" {
		if d.Has(b.File.CID) {
			return nil
		}
		var err error
		if b, err = b.fetch(ctx, d.TempDir()); err != nil {
			return err
		}
	}
	return d.Blob(b.Path, b.Digest, b.File)
}

// reused returns how many bytes of a tree are leaves that the store has.
func (d toStore) reused(ctx context.Context, t *Tree) (int64, error) {
	there, err := d.store.Leaves(ctx)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, b := range t.Blobs() {
		for i := range b.File.Table.Leaves {
			if there.Has(b.File.Table.Leaves[i].Digest) {
				n += int64(b.File.Table.Len(i))
			}
		}
	}
	return n, nil
}
