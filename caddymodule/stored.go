package caddymodule

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// stored is the layout.Tree of a store, which may have some parts of an image
// only: what was cached goes bit by bit.
type stored struct{ *store.Store }

// ReadFile implements layout.Tree.
func (s stored) ReadFile(ctx context.Context, root cid.Cid, p string, limit int64) ([]byte, error) {
	data, err := s.Store.ReadFile(ctx, root, p, limit)
	return data, lacking(err)
}

// ReadDir implements layout.Tree.
func (s stored) ReadDir(ctx context.Context, root cid.Cid, p string) (map[string]cid.Cid, error) {
	entries, err := s.Store.ReadDir(ctx, root, p)
	return entries, lacking(err)
}

// lacking marks the errors that say that this store does not have something, which
// proves nothing about the image.
func lacking(err error) error {
	if errors.Is(err, store.ErrLacking) {
		return fmt.Errorf("%w: %w", layout.ErrLacking, err)
	}
	return err
}

var _ layout.Tree = stored{}
