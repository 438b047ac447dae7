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

const (
	maxPaths      = 1 << 18 // files and directories below a root that is read
	maxPathLength = 1024    // bytes
)

// Read reads what is below a root: directories, nodes and leaf tables, and of the
// files only those that are one block. Blobs are read when they are wanted, and
// verified then.
func Read(ctx context.Context, from origin.Origin, root cid.Cid, p blob.Progress) (*Tree, error) {
	r := treeReader{ctx: ctx, from: from, progress: p, tree: &Tree{Files: map[string]File{}}, seen: cid.NewSet(), blobs: map[cid.Cid]*blob.Blob{}}
	if _, err := from.Block(ctx, root); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not in %s", origin.Address(root), from)
	}
	if err := r.directory("", unixfs.Node{CID: root}); err != nil {
		return nil, fmt.Errorf("reading %s: %w", root, err)
	}
	images, err := from.Images(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, img := range images {
		r.tree.Images = append(r.tree.Images, Image{Name: img.Name, Tag: img.Tag, MediaType: img.MediaType, Digest: img.Digest})
	}
	r.tree.Root.CID = root
	return r.tree, nil
}

type treeReader struct {
	ctx      context.Context
	from     origin.Origin
	progress blob.Progress // of reading blobs
	tree     *Tree
	paths    int
	seen     *cid.Set // of directories' blocks
	blobs    map[cid.Cid]*blob.Blob
}

// directory reads the entries of a directory, and then adds its blocks.
func (r *treeReader) directory(at string, nd unixfs.Node) error {
	var blocks []unixfs.Block
	entries, err := unixfs.List(r.ctx, func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := r.from.Block(ctx, c)
		if err == nil && r.seen.Visit(c) {
			blocks = append(blocks, unixfs.Block{CID: c, Data: data})
		}
		return data, err
	}, nd.CID)
	if errors.Is(err, unixfs.ErrNotDirectory) {
		for _, b := range blocks {
			r.seen.Remove(b.CID)
		}
		return r.file(at, nd)
	}
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if r.paths++; r.paths > maxPaths {
			return fmt.Errorf("more than %d files and directories", maxPaths)
		}
		if len(at)+len(name) > maxPathLength {
			return fmt.Errorf("a path of more than %d bytes, beginning with %.40q", maxPathLength, at)
		}
		if strings.Contains(name, "/") || name == "" || name == "." || name == ".." {
			return fmt.Errorf("%q in directory %q is no name", name, at)
		}
		if err := r.directory(path.Join(at, name), entries[name]); err != nil {
			return err
		}
	}
	slices.Reverse(blocks) // children first
	r.tree.Directories = append(r.tree.Directories, blocks...)
	return nil
}

func (r *treeReader) file(at string, nd unixfs.Node) error {
	if at == "" {
		return errors.New("it is a file, and an image is a directory")
	}
	if b, known := r.blobs[nd.CID]; known && (layout.IsBlobPath(at) || len(b.File.Nodes) > 0) {
		r.tree.Files[at] = File{Blob: b}
		return nil
	}
	f, err := r.from.File(r.ctx, nd.CID)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if len(f.Nodes) == 0 && !layout.IsBlobPath(at) {
		r.tree.Files[at], err = r.small(f)
		return err
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
	r.blobs[nd.CID] = b
	r.tree.Files[at] = File{Blob: b}
	return nil
}

func (r *treeReader) small(f *unixfs.File) (File, error) {
	block, err := r.from.Block(r.ctx, f.CID)
	if err != nil {
		return File{}, err
	}
	small := unixfs.Block{CID: f.CID, Data: block}
	data, err := unixfs.SmallFile(small)
	return File{Small: small, Data: data}, err
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
