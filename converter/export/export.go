// Package export writes images that are on IPFS as archives, for programs that load
// images without a registry. It is the reverse of package converter.
package export

import (
	"context"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/wholefile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

// Options say which of a root's images are exported. The zero value means all of
// them, for all platforms.
type Options struct {
	// Selection says which images are exported.
	Selection origin.Selection

	// Platform replaces an index by the image in it for that platform. Default:
	// the index is exported, with everything that it lists.
	Platform *platform.Platform

	// Logf reports what is left out, one line for each call. Default: nothing is
	// reported.
	Logf func(format string, args ...any)
}

// WriteArchive writes images as one archive: an OCI layout that also has Docker's list of
// images, with the blobs as they are stored. The same images give the same bytes.
//
// All manifests and configs are read and checked before anything is written. A blob
// is checked leaf by leaf as it is written, so no wrong byte is. The files that name
// the blobs come last. So an archive that ends at a wrong blob is not taken for an
// image.
func WriteArchive(ctx context.Context, from origin.Origin, root cid.Cid, w io.Writer, o Options) error {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	images, err := o.Selection.Images(ctx, from, root)
	if err != nil {
		return err
	}
	c := newCollector(from, root, o.Platform, o.Logf)
	for _, img := range images {
		if err := c.add(ctx, img); err != nil {
			return fmt.Errorf("%s: %w", img, err)
		}
	}
	return c.archive.write(ctx, from, w)
}

// WriteFile is WriteArchive to the file at path, which it replaces. The file is complete and
// synced, or it stays as it was.
func WriteFile(ctx context.Context, from origin.Origin, root cid.Cid, path string, o Options) error {
	file, err := wholefile.New(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Write(func(w io.Writer) error { return WriteArchive(ctx, from, root, w, o) })
}
