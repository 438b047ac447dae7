package converter

import "context"

// A Destination is where images go. It is for one Convert.
type Destination interface {
	// TempDir is where blobs wait until it is known what they are.
	TempDir() string

	// Commit puts the tree where it belongs. Whatever is found there after an
	// error is not the image.
	Commit(ctx context.Context, t *Tree) error

	// Close removes what is temporary. It must be called in the end.
	Close() error
}

// A counter is a destination that knows which leaves it has.
type counter interface {
	// reused returns a Result's Reused, and -1 where there are more than so many
	// blobs to look at.
	reused(ctx context.Context, t *Tree, most int) (int64, error)
}
