package unixfs

import (
	"context"
	"crypto/sha256"
	"fmt"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// ReadFile reads the nodes of a file above its leaves and returns the file with its
// table. It does not read the leaves, except for the leaf of a file that has only one.
// The table has the lengths that the nodes state, and the caller checks each leaf
// against the table.
func ReadFile(ctx context.Context, get Getter, c cid.Cid) (*File, error) {
	return ReadFileUpTo(ctx, get, c, maxLeaves)
}

// ReadFileUpTo is ReadFile for a file of at most that many leaves. The error for a file
// with more is ErrShape.
func ReadFileUpTo(ctx context.Context, get Getter, c cid.Cid, leaves int) (*File, error) {
	r := fileReader{limit: leaves, ctx: ctx, get: limited(get, maxNodes, "a file with more nodes than an image may have"), table: new(Table), read: map[cid.Cid]span{}}
	size, err := r.root(c)
	if err == nil {
		err = refuseEmptyEnd(r.table)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the nodes of %s: %w", c, err)
	}
	return &File{Node: Node{c, size}, Table: r.table, Nodes: r.nodes}, nil
}

// refuseEmptyEnd refuses tables with an empty leaf at the end, which no read of the
// file's bytes reaches.
func refuseEmptyEnd(t *Table) error {
	if n := len(t.Leaves); n > 1 && t.Size() > 0 && t.Len(n-1) == 0 {
		return fmt.Errorf("an empty leaf at the end: %w", ErrShape)
	}
	return nil
}

type fileReader struct {
	ctx   context.Context
	get   Getter
	table *Table
	limit int // of leaves that a table is made of
	most  int // leaves of a file of this size
	nodes []Block
	read  map[cid.Cid]span // nodes so far
}

// A span is the leaves [from, to) of a table.
type span struct{ from, to int }

// root reads the file and returns the number of bytes of all its blocks.
func (r *fileReader) root(c cid.Cid) (size uint64, err error) {
	data, err := r.get(r.ctx, c)
	if err != nil {
		return 0, err
	}
	if c.Type() == cid.Raw {
		return uint64(len(data)), r.leaf(c, int64(len(data)))
	}
	nd, fsn, err := decodeInTurn(r.ctx, c, data)
	if err != nil {
		return 0, err
	}
	bytes, err := partSizes(c, fsn)
	if err != nil {
		return 0, err
	}
	r.most = maxBlocks(bytes)
	if len(nd.Links()) == 0 {
		return uint64(len(data)), r.leaf(c, bytes)
	}
	if err := r.node(Block{c, data}, nd, fsn, maxFileDepth); err != nil {
		return 0, err
	}
	size, err = nd.Size()
	return size, err
}

// node reads the nodes below a node, and then adds the node itself.
func (r *fileReader) node(b Block, nd *dag.ProtoNode, fsn *ft.FSNode, depth int) error {
	if len(fsn.Data()) > 0 || fsn.NumChildren() != len(nd.Links()) {
		return fmt.Errorf("%s: %w", b.CID, ErrShape)
	}
	from := len(r.table.Leaves)
	for i, l := range nd.Links() {
		if err := r.child(l, fsn.BlockSize(i), depth-1); err != nil {
			return err
		}
	}
	r.nodes = append(r.nodes, b)
	r.read[b.CID] = span{from, len(r.table.Leaves)}
	return nil
}

func (r *fileReader) child(l *ipld.Link, bytes uint64, depth int) error {
	if bytes <= MaxLeaf && isLeaf(l, int(bytes)) {
		return r.leaf(l.Cid, int64(bytes))
	}
	if known, ok := r.read[l.Cid]; ok {
		return r.again(l.Cid, known, bytes)
	}
	if depth == 0 {
		return fmt.Errorf("deeper than %d nodes: %w", maxFileDepth, ErrShape)
	}
	data, err := r.get(r.ctx, l.Cid)
	if err != nil {
		return err
	}
	nd, fsn, err := decodeInTurn(r.ctx, l.Cid, data)
	if err != nil {
		return err
	}
	sum, err := partSizes(l.Cid, fsn)
	if err != nil {
		return err
	}
	if uint64(sum) != bytes {
		return fmt.Errorf("%s has %d bytes, and the node above it states %d", l.Cid, sum, bytes)
	}
	if len(nd.Links()) > 0 {
		return r.node(Block{l.Cid, data}, nd, fsn, depth)
	}
	if _, ok := unwrap(data, int(min(bytes, MaxLeaf))); !ok { // it has a modification time, for example
		return fmt.Errorf("leaf %s: %w", l.Cid, ErrShape)
	}
	return r.leaf(l.Cid, int64(bytes))
}

// again adds the leaves of a node that was read before. A node costs its publisher
// nothing the second time, so it is not decoded again.
func (r *fileReader) again(c cid.Cid, known span, bytes uint64) error {
	before := r.table.Start(known.from)
	if sum := r.table.Start(known.to) - before; uint64(sum) != bytes {
		return fmt.Errorf("%s has %d bytes, and the node above it states %d", c, sum, bytes)
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if err := r.mayAdd(known.to - known.from); err != nil {
		return err
	}
	size := r.table.Size()
	for _, l := range r.table.Leaves[known.from:known.to] {
		r.table.Leaves = append(r.table.Leaves, Leaf{l.Digest, size + l.End - before})
	}
	return nil
}

// mayAdd refuses n more leaves if the file has too many.
func (r *fileReader) mayAdd(n int) error {
	switch n += len(r.table.Leaves); {
	case n > max(r.most, 1):
		return errTooDeep // before any of the leaves is requested
	case n > r.limit:
		return fmt.Errorf("more than %d leaves: %w", r.limit, ErrShape)
	}
	return nil
}

func (r *fileReader) leaf(c cid.Cid, n int64) error {
	prefix := c.Prefix()
	wrapped := prefix.Codec == cid.DagProtobuf
	digest, err := mh.Decode(c.Hash())
	switch {
	case err != nil:
		return err
	case prefix.MhType != mh.SHA2_256, len(digest.Digest) != sha256.Size,
		!wrapped && prefix.Codec != cid.Raw,
		n > MaxLeaf,
		len(r.table.Leaves) > 0 && wrapped != r.table.Wrapped:
		return fmt.Errorf("leaf %s of %d bytes: %w", c, n, ErrShape)
	}
	if err := r.mayAdd(1); err != nil {
		return err
	}
	r.table.Wrapped = wrapped
	r.table.Leaves = append(r.table.Leaves, Leaf{[sha256.Size]byte(digest.Digest), r.table.Size() + n})
	return nil
}
