// Package destination writes trees of images to a store, a Kubo node, a CAR file, or a
// directory of plain files. It is the reverse of package origin.
//
// A destination has a temporary directory on the disk that it writes to. The tree's
// blobs wait there, so that they can be renamed into place. Close removes every file
// that was not committed.
package destination

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Store writes images to a store on disk. Afterwards every byte of them is there,
// and damaged files are replaced. Only the blobs of a root that images are added to
// are not read again: with each image that is added, that would take longer.
type Store struct {
	to     *store.Import
	store  *store.Store
	origin origin.Origin // to read from the same store

	mostCounted int // see CountReused
}

// ToStore returns a destination in the store in dir, which is created if it does not
// exist.
func ToStore(dir string) (*Store, error) {
	s := store.Open(dir)
	im, err := s.BeginImport()
	if err != nil {
		return nil, err
	}
	from, err := origin.FromStore(dir)
	if err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return &Store{to: im, store: s, origin: from}, nil
}

// TempDir is part of converter.Destination.
func (d *Store) TempDir() string { return d.to.TempDir() }

// Close is part of converter.Destination.
func (d *Store) Close() error { return d.to.Close() }

// Commit is part of converter.Destination.
func (d *Store) Commit(ctx context.Context, t *tree.Tree) error {
	for _, b := range t.Others {
		if links, _, err := unixfs.Children(b); err != nil || len(links) > 0 {
			return fmt.Errorf("block %s is neither a directory nor a file of a usual shape, and a store holds nothing else", b.CID)
		}
	}
	if err := d.putBlobs(ctx, t); err != nil {
		return err
	}
	if err := d.putNodes(ctx, slices.Concat(t.SmallFiles(), t.Others, t.Directories)); err != nil {
		return fmt.Errorf("storing directories and small files: %w", err)
	}
	record := store.Record{Root: origin.Address(t.Root.CID), Images: slices.Concat(t.Kept, t.Images), Created: time.Now().UTC().Truncate(time.Second)}
	return d.to.Commit(t.Root.CID, record)
}

// putBlobs puts the blobs of a tree in place, and leaves the store locked.
func (d *Store) putBlobs(ctx context.Context, t *tree.Tree) error {
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
	return nil
}

// writers is how many nodes are written at a time. Each one waits for the disk, which
// can serve several at once.
const writers = 16

// putNodes stores blocks, of which the last one is the root: that one comes last, so
// what it leads to is there before it.
func (d *Store) putNodes(ctx context.Context, blocks []unixfs.Block) error {
	var group errgroup.Group
	group.SetLimit(writers)
	last := len(blocks) - 1
	for _, b := range blocks[:max(0, last)] {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return d.to.Node(b) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if last < 0 {
		return nil
	}
	return d.to.Node(blocks[last])
}

// fetch returns the blobs, each with a file unless the store has it. Fetching takes
// long, so it is done before the store is locked.
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

// has reports whether the store has every byte of a blob.
func (d *Store) has(ctx context.Context, b *blob.Blob) bool {
	if !d.to.Has(b.File.CID) {
		return false
	}
	if b.OfBase {
		return true
	}
	if d.origin.CheckTable(b.File) != nil {
		return false
	}
	r, err := d.origin.Open(ctx, b.File)
	if err != nil {
		return false
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, ctxio.Reader(ctx, r))
	return err == nil
}

// put stores a blob that the store does not have. A blob that fetch found there may
// have been collected since.
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

// CountReused makes Reused count the leaves that the store has already, if the store has
// at most that many blobs. Counting reads the leaf tables of all of them.
func (d *Store) CountReused(most int) { d.mostCounted = most }

// Reused returns how many bytes of a tree are in leaves that the store has, or that
// the tree has more than once. It returns -1 if the store has more blobs than
// CountReused allows.
func (d *Store) Reused(ctx context.Context, t *tree.Tree) (int64, error) {
	if d.mostCounted == 0 {
		return -1, nil
	}
	tables, err := d.store.Tables()
	if err != nil || tables > d.mostCounted {
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
