// Package tree makes directories of images, in format 1. A conversion, a copy and a
// repair make a Tree, and every destination stores one.
//
// A finished tree is complete: its directories are built, and its root is known. A tree
// may be larger than memory and disk, so blobs are read when a destination wants them,
// from a temporary file or from the origin where they were found.
package tree

import (
	"context"
	"maps"
	"slices"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Tree is a directory of images that is not stored yet.
type Tree struct {
	Root   unixfs.Node
	Images []layout.Tagged
	Kept   []layout.Tagged // of the base

	hadLatest []string // paths of dropped aliases

	// Files are all files, by slash-separated path. Aliases share a File.
	Files map[string]File

	// Directories are the blocks of all directories, children first.
	Directories []unixfs.Block

	// Others are blocks of a copied DAG that are neither directories nor files
	// with a leaf table.
	Others []unixfs.Block
}

// Blobs returns the tree's blobs, each once, in the order of their digests. A blob that
// occurs with different leaves is returned with each of them. Of a blob that a new image
// and the base have, the new image's is returned.
func (t *Tree) Blobs() []*blob.Blob {
	blobs := map[string]*blob.Blob{}
	for _, f := range t.Files {
		if f.Blob == nil {
			continue
		}
		id := f.Blob.Digest.String() + f.Blob.File.CID.String()
		if _, known := blobs[id]; !known || !f.Blob.OfBase {
			blobs[id] = f.Blob
		}
	}
	return inOrder(blobs)
}

// SmallFiles returns the blocks of the files that consist of one block, each once.
func (t *Tree) SmallFiles() []unixfs.Block {
	small := map[string]unixfs.Block{}
	for _, f := range t.Files {
		if f.Blob == nil {
			small[f.Small.CID.KeyString()] = f.Small
		}
	}
	return inOrder(small)
}

func inOrder[K ~string, V any](m map[K]V) []V {
	values := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[k])
	}
	return values
}

// WriteBlocks calls put with every block of the tree, in an order that depends on the
// tree alone: directories from the root down, small files, then the nodes and leaves of
// each blob. put must not keep the data.
func (t *Tree) WriteBlocks(ctx context.Context, put func(unixfs.Block) error) error {
	for i := len(t.Directories) - 1; i >= 0; i-- {
		if err := put(t.Directories[i]); err != nil {
			return err
		}
	}
	for _, b := range append(t.SmallFiles(), t.Others...) {
		if err := put(b); err != nil {
			return err
		}
	}
	for _, b := range t.Blobs() {
		if err := b.WriteBlocks(ctx, put); err != nil {
			return err
		}
	}
	return nil
}
