package converter

import (
	"context"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
)

// A Result says where images are now.
type Result struct {
	tree.Listing

	// Bytes is how many bytes the blobs of the whole root have, and Reused how
	// many of them are in leaves that the destination had before, or that the
	// root has more than once; -1 where that is not known. The others are what is
	// new: each leaf once, as IPFS keeps and sends it.
	Bytes, Reused int64
}

// commit puts a tree where it belongs.
func commit(ctx context.Context, dst Destination, t *tree.Tree, o Options) (*Result, error) {
	r := &Result{Listing: t.Listing(), Reused: -1}
	for _, b := range t.Blobs() {
		r.Bytes += b.Size()
	}
	if dst, ok := dst.(counter); ok && o.CountReused > 0 {
		var err error
		if r.Reused, err = dst.Reused(ctx, t, o.CountReused); err != nil {
			return nil, err
		}
	}
	return r, dst.Commit(ctx, t)
}
