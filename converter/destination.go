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
