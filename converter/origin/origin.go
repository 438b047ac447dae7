// Package origin reads images that are on IPFS already: from a store, a CAR file, a
// Kubo node or gateways.
//
// None of these is trusted. A disk can be damaged, and a CAR file, a node or a
// gateway may belong to a stranger. Every block is checked against its CID before the
// caller gets it. So a caller gets the content of the root, or an error that says what
// is wrong and where.
package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A place has blocks and files, and is not trusted.
type place interface {
	// block returns the data of a block of at most unixfs.MaxBlock bytes that is
	// not a leaf of a larger file. If it is missing, the error is fs.ErrNotExist.
	block(ctx context.Context, c cid.Cid) ([]byte, error)

	// open returns the content of a file, given its nodes.
	open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error)

	Close() error
	String() string
}

// An Origin is a place to read images from. It remembers the blocks that were read
// last, up to 16 MiB of them. Its methods may be called concurrently.
type Origin struct {
	place
	memory *memo.Cache[string, []byte] // verified blocks by multihash
}

const maxRemembered = 16 << 20 // bytes

func newOrigin(p place) Origin {
	return Origin{p, memo.NewCache(maxRemembered, func(key string, data []byte) int { return len(key) + len(data) })}
}

// Block returns a verified block: a directory, a node of a file, or a file that
// is one block. If it is missing, the error is fs.ErrNotExist.
func (o Origin) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if data, ok := o.memory.Get(string(c.Hash())); ok {
		return data, nil
	}
	data, err := o.block(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("reading block %s from %s: %w", c, o, err)
	}
	if err := (unixfs.Block{CID: c, Data: data}).Verify(); err != nil {
		return nil, fmt.Errorf("reading from %s: %w", o, err)
	}
	o.memory.Add(string(c.Hash()), data)
	return data, nil
}

// Require returns an error that says so if the root is not there.
func (o Origin) Require(ctx context.Context, root cid.Cid) error {
	if _, err := o.Block(ctx, root); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not in %s", Address(root), o)
	}
	return nil
}

// File returns the nodes and the leaf table of a file, verified except for its
// leaves.
func (o Origin) File(ctx context.Context, c cid.Cid) (*unixfs.File, error) {
	return unixfs.ReadFile(ctx, o.Block, c)
}

// Open returns the content of a file. Only verified bytes are read from it.
func (o Origin) Open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error) {
	r, err := o.open(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("reading file %s from %s: %w", f.CID, o, err)
	}
	return verify(r, f, o.String()), nil
}

// Read returns the content of a file of at most limit bytes.
func (o Origin) Read(ctx context.Context, c cid.Cid, limit int64) ([]byte, error) {
	f, err := o.File(ctx, c)
	if err != nil {
		return nil, err
	}
	if size := f.Table.Size(); size > limit {
		return nil, fmt.Errorf("file %s has %d bytes: %w of %d", c, size, unixfs.ErrTooLarge, limit)
	}
	if len(f.Nodes) == 0 {
		data, err := o.Block(ctx, c)
		if err != nil {
			return nil, err
		}
		return unixfs.SmallFile(unixfs.Block{CID: c, Data: data})
	}
	r, err := o.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Walk returns the CID at the slash-separated path below root. If there is none,
// the error is fs.ErrNotExist.
func (o Origin) Walk(ctx context.Context, root cid.Cid, path string) (cid.Cid, error) {
	return unixfs.Walk(ctx, o.Block, root, path)
}

// Dir returns the entries of the directory at the slash-separated path below root,
// by name. They are nil if there is a file or nothing. A block that is missing is
// an error: it may be of a directory that has the entry.
func (o Origin) Dir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	entries, err := unixfs.ReadDir(ctx, func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := o.Block(ctx, c)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New(err.Error()) // which proves nothing about a name
		}
		return data, err
	}, root, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// ReadFile is part of layout.Tree.
func (o Origin) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	c, err := o.Walk(ctx, root, path)
	if err != nil {
		return nil, err
	}
	return o.Read(ctx, c, limit)
}

// ReadDir is part of layout.Tree.
func (o Origin) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	return unixfs.ReadDir(ctx, o.Block, root, path)
}

// Address returns a root as image names spell it, or as a CID if they cannot.
func Address(root cid.Cid) string {
	if name, err := cidname.Format(root); err == nil {
		return name
	}
	return root.String()
}

// missing is the error of a place without the block.
func missing(c cid.Cid) error { return fmt.Errorf("%s: %w", c, fs.ErrNotExist) }

// oneBlock returns the content of a file that consists of one block.
func oneBlock(ctx context.Context, p place, f *unixfs.File) (io.ReadCloser, error) {
	data, err := p.block(ctx, f.CID)
	if err != nil {
		return nil, err
	}
	content, err := unixfs.SmallFile(unixfs.Block{CID: f.CID, Data: data})
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}
