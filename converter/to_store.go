package converter

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// toStore puts images into a store on disk.
type toStore struct{ *store.Import }

// ToStore returns a destination in the store in dir, which is made if need be.
func ToStore(dir string) (Destination, error) {
	im, err := store.Open(dir).Begin()
	if err != nil {
		return nil, err
	}
	return toStore{im}, nil
}

func (d toStore) Commit(ctx context.Context, t *Tree) error {
	for _, b := range t.Blobs() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := d.Blob(b.Path, b.Digest, b.File); err != nil {
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
	for _, img := range t.Images {
		record.Images = append(record.Images, store.Image(img))
	}
	return d.Import.Commit(t.Root.CID, record)
}
