package main

import (
	"context"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// scrub takes out of service what of the store has rotted, where all of it is
// verified: of what is cached, which is no image's, and returns how much that is;
// and of what is kept, where an image is wrong.
func (f *verifyFlags) scrub(ctx context.Context, wrong bool, say func(format string, args ...any)) (rotten int, err error) {
	if !f.all || f.car != "" {
		return 0, nil
	}
	dir, err := f.dir()
	if err != nil {
		return 0, err
	}
	s := store.Open(dir)
	err = s.Scrub(ctx, store.Scrub{Cached: true, Found: func(path string, err error) {
		rotten++
		if err != nil {
			say("%s is cached, and rotted: %v", path, err)
			return
		}
		say("%s was cached, and rotted: it is removed", path)
	}})
	if err != nil || !wrong {
		return rotten, err
	}
	return rotten, s.Scrub(ctx, store.Scrub{Kept: true, Found: func(path string, err error) {
		if err != nil {
			say("%s rotted, and is still served: %v", path, err)
			return
		}
		say("%s rotted, and is put aside: the image can be converted anew", path)
	}})
}
