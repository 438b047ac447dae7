package converter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// toStore puts images into a store on disk. What comes is there afterwards, to
// the byte, and what had rotted of it is mended. Only of a root that images are
// put onto, the blobs are taken to be what they were: reading all that it holds,
// to add one image, would take ever longer.
type toStore struct {
	*store.Import
	store *store.Store
	there origin.Origin // the same
}

// ToStore returns a destination in the store in dir, which is made if need be.
func ToStore(dir string) (Destination, error) {
	s := store.Open(dir)
	im, err := s.Begin()
	if err != nil {
		return nil, err
	}
	there, err := origin.FromStore(dir)
	if err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return toStore{im, s, there}, nil
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
		if b.Path != "" || d.has(ctx, b) {
			continue
		}
		var err error
		if blobs[i], err = b.fetch(ctx, d.TempDir()); err != nil {
			return nil, err
		}
	}
	return blobs, nil
}

// has reports whether the store has a blob, and every byte of it.
func (d toStore) has(ctx context.Context, b *Blob) bool {
	if !d.Has(b.File.CID) {
		return false
	}
	if b.ofBase {
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
	_, err = io.Copy(io.Discard, contextReader{ctx, r})
	return err == nil
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

// reused subtracts the leaves that the store lacks, each once.
func (d toStore) reused(ctx context.Context, t *Tree, most int) (int64, error) {
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
