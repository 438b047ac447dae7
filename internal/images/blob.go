package images

import (
	"context"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Blob calls use with the query's blob. If use returns an error, it must have written
// nothing, because Blob calls it again with the blob of another place or source. Some
// sources find out only when the blob is used that it does not exist.
func (l *Library) Blob(ctx context.Context, q Query, use func(Origin, Blob) error) error {
	if err := l.Admit(q, q.path()); err != nil {
		return err
	}
	found := false // in a store
	if l.config.Filler != nil {
		defer func() { l.config.Looked(CacheBlobs, found) }()
	}
	_, _, err := find(ctx, l, q, func(v view) (struct{}, error) {
		return struct{}{}, v.atBlob(ctx, func(at layout.Place) error {
			if _, err := v.check(ctx, at); err != nil {
				return err
			}
			b, err := v.Blob(ctx, at, q.Digest)
			if err != nil {
				return err
			}
			defer b.Close()
			found = v.origin.kind == FromStore
			return use(v.origin.kind, wantedBlob{b, func(part *Range) { l.wanted(q, part) }})
		})
	})
	return err
}

// Locate returns the place of the query's blob, or its native place if no source knows
// better.
func (l *Library) Locate(ctx context.Context, q Query) (layout.Place, error) {
	if err := l.Admit(q, q.path()); err != nil {
		return layout.Place{}, err
	}
	at, _, err := find(ctx, l, q, func(v view) (layout.Place, error) {
		form, err := v.form(ctx)
		if err != nil {
			return layout.Place{}, err
		}
		at, err := v.placeIn(ctx, form)
		if err == nil {
			_, err = v.check(ctx, at)
		}
		return at, err
	})
	if err == nil || l.config.Lists != nil {
		return at, err
	}
	if e := classify(ctx, err); e.Class == Absent {
		return at, e
	}
	return q.nativeBlob(), nil
}
