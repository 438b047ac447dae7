// Package blob makes blobs, the files that a registry serves, of the files in archives
// and of files from anywhere else.
//
// Only the manifests, which may come last, say what a file is for: a layer, a config or
// anything else. A file may be too large to wait for that in memory, or uncompressed on
// disk. So a tar is taken for a layer and compressed at once, as layers in format 1 are,
// and every other file stays as it came. The caller then asks a Content for the form
// that it needs, which nearly always exists already.
//
// The package knows nothing of manifests and names.
package blob

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Blob is a config, a layer or a large manifest. It is complete in a file, or still
// where it was found.
type Blob struct {
	Path   string // of its file; empty where it has none
	Digest digest.Digest
	File   *unixfs.File

	// From opens the blob where Path is empty.
	From func(context.Context) (io.ReadCloser, error)

	// OfBase is set if only the base has the blob, and no new image does.
	OfBase bool
}

// Open returns the blob's bytes, in the leaves of File.
func (b *Blob) Open(ctx context.Context) (io.ReadCloser, error) {
	if b.Path == "" {
		return b.From(ctx)
	}
	return os.Open(b.Path)
}

// Size returns the number of bytes.
func (b *Blob) Size() int64 { return b.File.Table.Size() }

// recut gives the blob leaves that end at the given offsets, if the profile has leaves
// of any length.
func (b *Blob) recut(ctx context.Context, p unixfs.Profile, ends []int64) error {
	f, err := os.Open(b.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	cutter := p.NewCutter()
	buf := make([]byte, unixfs.MaxLeaf)
	start := int64(0)
	for _, end := range ends {
		leaf := buf[:end-start]
		if _, err := io.ReadFull(ctxio.Reader(ctx, f), leaf); err != nil {
			return err
		}
		cutter.WriteLeaf(leaf, sha256.Sum256(leaf))
		start = end
	}
	b.File, err = p.Layout(cutter.Table())
	return err
}

// Fetch returns the blob with a file of its own in dir. Its digest is that of its bytes,
// whatever name it had.
func (b *Blob) Fetch(ctx context.Context, dir string) (*Blob, error) {
	r, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := os.CreateTemp(dir, "blob-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := digest.SHA256.Digester()
	if _, err := io.Copy(io.MultiWriter(f, sum.Hash()), ctxio.Reader(ctx, r)); err != nil {
		os.Remove(f.Name())
		return nil, fmt.Errorf("reading blob %s: %w", b.Digest, err)
	}
	return &Blob{Path: f.Name(), Digest: sum.Digest(), File: b.File}, f.Close()
}

// WriteBlocks hands the blob's nodes, from the root down, and then its leaves to
// put, which must not keep their data.
func (b *Blob) WriteBlocks(ctx context.Context, put func(unixfs.Block) error) error {
	for i := len(b.File.Nodes) - 1; i >= 0; i-- {
		if err := put(b.File.Nodes[i]); err != nil {
			return err
		}
	}
	f, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, unixfs.MaxLeaf)
	for i := range b.File.Table.Leaves {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		data := buf[:b.File.Table.Len(i)]
		if _, err := io.ReadFull(f, data); err != nil {
			return fmt.Errorf("reading blob %s: %w", b.Digest, err)
		}
		if err := put(b.File.Table.Block(i, data)); err != nil {
			return err
		}
	}
	return nil
}
