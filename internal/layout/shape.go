package layout

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
)

type shape interface {
	// Manifest reads the manifest of a tag or digest. If there is none, the error is
	// fs.ErrNotExist. A manifest that is found by digest has that digest.
	Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error)

	// Blob returns where the blob of a digest is, if there is one.
	Blob(ctx context.Context, tree Tree, d digest.Digest) (Place, error)

	// Tags returns the tags of the image, sorted, and no aliases.
	Tags(ctx context.Context, tree Tree) ([]string, error)
}

// unknownForm returns the error that there is no image, and why.
func unknownForm(why string) error { return fmt.Errorf("%s: %w", why, fs.ErrNotExist) }
