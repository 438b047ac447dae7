// Package origin reads images that are on IPFS already, from wherever they are:
// a store, a CAR file, a node.
//
// None of these is trusted. A disk rots, a CAR comes from somebody, a node may
// be anybody's. A CID says what its bytes are, so whatever is read is held
// against it, block by block, before it is handed on: what comes out is what the
// root names, or an error that says what is wrong where.
package origin

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// ErrCorrupt says that bytes are not what their CID says.
var ErrCorrupt = unixfs.ErrMismatch

// A place has blocks and files, and is not trusted.
type place interface {
	// block returns the data of a block of at most unixfs.MaxBlock bytes that is
	// no leaf of a larger file. Where it is missing, the error is fs.ErrNotExist.
	block(ctx context.Context, c cid.Cid) ([]byte, error)

	// open returns the content of a file, given its nodes.
	open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error)

	Close() error
	String() string
}

// An Origin is a place to read images from. Its methods may be called
// concurrently.
type Origin struct{ place }

// Block returns a verified block: a directory, a node of a file, or a file that
// is one block. Where it is missing, the error is fs.ErrNotExist.
func (o Origin) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := o.block(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("reading block %s from %s: %w", c, o, err)
	}
	if err := (unixfs.Block{CID: c, Data: data}).Verify(); err != nil {
		return nil, fmt.Errorf("reading from %s: %w", o, err)
	}
	return data, nil
}

// File returns the nodes and the leaf table of a file, verified but for its
// leaves.
func (o Origin) File(ctx context.Context, c cid.Cid) (*unixfs.File, error) {
	return unixfs.ReadFile(ctx, o.Block, c)
}

// Open returns the content of a file, of which only verified bytes are read.
func (o Origin) Open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error) {
	r, err := o.open(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("reading file %s from %s: %w", f.CID, o, err)
	}
	return verify(r, f, o.String()), nil
}

// List returns the entries of a directory.
func (o Origin) List(ctx context.Context, dir cid.Cid) (map[string]unixfs.Node, error) {
	return unixfs.List(ctx, o.Block, dir)
}

// Walk returns the CID at the slash-separated path below root. Where there is
// none, the error is fs.ErrNotExist.
func (o Origin) Walk(ctx context.Context, root cid.Cid, path string) (cid.Cid, error) {
	return unixfs.Walk(ctx, o.Block, root, path)
}

// ReadFile returns the content of the file at the slash-separated path below
// root, of at most limit bytes. Where there is none, the error is
// fs.ErrNotExist.
func (o Origin) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	c, err := o.Walk(ctx, root, path)
	if err != nil {
		return nil, err
	}
	return o.Read(ctx, c, limit)
}

// ReadDir returns the entries of the directory at the slash-separated path below
// root by name, nil where there is a file. Where there is nothing, the error is
// fs.ErrNotExist.
func (o Origin) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	return unixfs.ReadDir(ctx, o.Block, root, path)
}

// Read returns the content of a file of at most limit bytes.
func (o Origin) Read(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	f, err := o.File(ctx, c)
	if err != nil {
		return nil, err
	}
	if size := f.Table.Size(); size > limit {
		return nil, fmt.Errorf("file %s has %d bytes, and the most here is %d", c, size, limit)
	}
	r, err := o.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// missing is the error of a place without the block.
func missing(c cid.Cid) error { return fmt.Errorf("%s: %w", c, fs.ErrNotExist) }
