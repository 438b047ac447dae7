package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// MaxPaths is how many files and directories a root may have.
const MaxPaths = 1 << 18

const (
	maxPathLength = 1024      // bytes
	maxSmall      = 128 << 20 // bytes of directories, small files and other blocks, which are kept in memory
	maxLeaves     = 1 << 22   // of all files, which are kept in memory: those of 500 GB in leaves of 128 KiB
)

// Read reads everything below a root: directories, nodes and leaf tables, and of the
// files only those that consist of one block. Blobs are read and verified when they
// are wanted. The root need not be a directory of images: it can be any DAG of raw and
// dag-pb blocks.
func Read(ctx context.Context, from origin.Origin, root cid.Cid, p blob.Progress) (*Tree, error) {
	r := newTreeReader(from)
	r.progress = p
	if err := from.Require(ctx, root); err != nil {
		return nil, err
	}
	if err := r.directory(ctx, "", root); err != nil {
		return nil, fmt.Errorf("reading %s: %w", origin.Address(root), err)
	}
	images, err := from.Images(ctx, root)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil { // all blocks were read: a root with broken images is copied all the same
		for _, img := range images {
			r.tree.Images = append(r.tree.Images, img.Tagged)
		}
	}
	r.tree.Root.CID = root
	return r.tree, nil
}

type treeReader struct {
	from     origin.Origin
	progress blob.Progress // of reading blobs
	tree     *Tree
	paths    int
	small    int      // bytes of blocks that are kept
	leaves   int      // that are kept
	seen     *cid.Set // of blocks of directories, and of other blocks
	blobs    map[cid.Cid]*blob.Blob

	smallFiles map[cid.Cid]File // tags that name one manifest share its file
}

func newTreeReader(from origin.Origin) *treeReader {
	return &treeReader{from: from, tree: &Tree{Files: map[string]File{}}, seen: cid.NewSet(), blobs: map[cid.Cid]*blob.Blob{}, smallFiles: map[cid.Cid]File{}}
}

// directory reads the entries of a directory, and then adds its blocks.
func (r *treeReader) directory(ctx context.Context, at string, c cid.Cid) error {
	var blocks []unixfs.Block
	entries, err := unixfs.List(ctx, func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := r.from.Block(ctx, c)
		if err == nil {
			blocks = append(blocks, unixfs.Block{CID: c, Data: data})
		}
		return data, err
	}, c)
	if errors.Is(err, unixfs.ErrNotDirectory) {
		return r.file(ctx, at, c)
	}
	if err != nil {
		return r.otherwise(ctx, c, err)
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if r.paths++; r.paths > MaxPaths {
			return fmt.Errorf("it has more than %d files and directories", MaxPaths)
		}
		if len(at)+len(name) > maxPathLength {
			return fmt.Errorf("it has a path of more than %d bytes, beginning with %.40q", maxPathLength, at)
		}
		if strings.Contains(name, "/") || name == "" || name == "." || name == ".." {
			return fmt.Errorf("%q in directory %q is not a file name", name, at)
		}
		if err := r.directory(ctx, path.Join(at, name), entries[name].CID); err != nil {
			return err
		}
	}
	for _, b := range slices.Backward(blocks) { // children first
		if !r.seen.Visit(b.CID) {
			continue
		}
		if err := r.hold(len(b.Data)); err != nil {
			return err
		}
		r.tree.Directories = append(r.tree.Directories, b)
	}
	return nil
}

func (r *treeReader) file(ctx context.Context, at string, c cid.Cid) error {
	if b, known := r.blobs[c]; known && (layout.IsBlobPath(at) || len(b.File.Nodes) > 0) {
		r.tree.Files[at] = File{Blob: b}
		return nil
	}
	f, err := r.from.File(ctx, c)
	if err != nil {
		return r.otherwise(ctx, c, err)
	}
	if len(f.Nodes) == 0 && !layout.IsBlobPath(at) {
		r.tree.Files[at], err = r.smallFile(ctx, c)
		return err
	}
	if r.leaves += len(f.Table.Leaves); r.leaves > maxLeaves {
		return fmt.Errorf("its files have more than %d leaves", maxLeaves)
	}
	b := &blob.Blob{File: f, From: func(ctx context.Context) (io.ReadCloser, error) {
		content, err := r.from.Open(ctx, f)
		if err != nil {
			return nil, err
		}
		watched, end := blob.Watch(r.progress, path.Base(at), f.Table.Size(), content)
		return &partReader{watched, content, end}, nil
	}}
	if d, err := layout.ParseDigest(path.Base(at)); err == nil {
		b.Digest = d
	}
	r.blobs[c] = b
	r.tree.Files[at] = File{Blob: b}
	return nil
}

func (r *treeReader) smallFile(ctx context.Context, c cid.Cid) (File, error) {
	if f, ok := r.smallFiles[c]; ok {
		return f, nil
	}
	block, err := r.block(ctx, c)
	if err != nil {
		return File{}, err
	}
	data, err := unixfs.SmallFile(block)
	if err != nil {
		return File{}, err
	}
	f := File{Small: block, Data: data}
	r.smallFiles[c] = f
	return f, nil
}

// hold counts bytes of blocks that are kept in memory.
func (r *treeReader) hold(n int) error {
	if r.small += n; r.small > maxSmall {
		return fmt.Errorf("its directories and small files have more than %d bytes", maxSmall)
	}
	return nil
}

// block returns a block that is kept in memory.
func (r *treeReader) block(ctx context.Context, c cid.Cid) (unixfs.Block, error) {
	data, err := r.from.Block(ctx, c)
	if err != nil {
		return unixfs.Block{}, err
	}
	if err := r.hold(len(data)); err != nil {
		return unixfs.Block{}, err
	}
	return unixfs.Block{CID: c, Data: data}, nil
}

// otherwise reads a DAG that is neither a directory nor a file with a leaf table, as
// err says, block by block.
func (r *treeReader) otherwise(ctx context.Context, c cid.Cid, err error) error {
	if ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, origin.ErrCorrupt) {
		return err
	}
	for todo := []cid.Cid{c}; len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !r.seen.Visit(c) {
			continue
		}
		b, failed := r.block(ctx, c)
		if failed != nil {
			return failed
		}
		links, failed := unixfs.Links(b)
		if failed != nil {
			return failed
		}
		r.tree.Others = append(r.tree.Others, b)
		todo = append(todo, links...)
	}
	return nil
}

// A partReader is watched until it is closed.
type partReader struct {
	io.Reader
	content io.Closer
	end     func()
}

func (r *partReader) Close() error {
	r.end()
	return r.content.Close()
}
