package converter

import (
	"context"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Destination is where images go. It is for one Convert.
type Destination interface {
	// TempDir is where blobs wait until it is known what they are.
	TempDir() string

	// Commit puts the tree where it belongs. Whatever is found there after an
	// error is not the image.
	Commit(ctx context.Context, t *tree.Tree) error

	// Close removes what is temporary. It must be called in the end.
	Close() error
}

// A streamer is a destination that takes leaves while layers still compress,
// before it is known what they are for.
type streamer interface {
	PutEarly(ctx context.Context, leaf unixfs.Block) error
}

// A counter is a destination that knows which leaves it has.
type counter interface {
	// Reused returns a Result's Reused, and -1 where there are more than so many
	// blobs to look at.
	Reused(ctx context.Context, t *tree.Tree, most int) (int64, error)
}
