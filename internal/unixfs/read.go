package unixfs

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// ReadFile reads the nodes of a file above its leaves and returns the file with its
// table. It does not read the leaves, except for the leaf of a file that has only one.
// The table has the lengths that the nodes state, and the caller checks each leaf
// against the table.
func ReadFile(ctx context.Context, get Getter, c cid.Cid) (*File, error) {
	r := fileReader{limit: maxLeaves, keepsNodes: true}
	if err := r.file(ctx, get, c); err != nil {
		return nil, err
	}
	return &File{Node: Node{c, r.size}, Table: r.table, Nodes: r.nodes}, nil
}

// ReadTable is ReadFile for the table of a file of at most that many leaves. The error
// for a file with more is ErrShape. If grow is not nil, ReadTable calls it before each
// allocation, with the number of leaves that the memory is for, and fails if it fails.
func ReadTable(ctx context.Context, get Getter, c cid.Cid, leaves int, grow func(leaves int) error) (*Table, error) {
	r := fileReader{limit: leaves, grow: grow}
	if err := r.file(ctx, get, c); err != nil {
		return nil, err
	}
	return r.table, nil
}

// A fileReader reads the nodes of one file.
type fileReader struct {
	ctx   context.Context
	get   Getter
	table *Table
	limit int // of leaves of a table
	grow  func(leaves int) error
	most  int    // leaves of a file of this size
	cost  cost   // of the nodes
	size  uint64 // of all blocks

	read       map[cid.Cid]span // nodes so far
	keepsNodes bool
	nodes      []Block // children first
}

// A span is the leaves [from, to) of a table.
type span struct{ from, to int }

func (r *fileReader) file(ctx context.Context, get Getter, c cid.Cid) error {
	r.ctx, r.get, r.table, r.read = ctx, get, new(Table), map[cid.Cid]span{}
	err := r.root(c)
	if err == nil {
		err = refuseEmptyEnd(r.table)
	}
	if err != nil {
		return fmt.Errorf("reading the nodes of %s: %w", c, err)
	}
	return nil
}

// refuseEmptyEnd refuses tables with an empty leaf at the end, which no read of the
// file's bytes reaches.
func refuseEmptyEnd(t *Table) error {
	if n := len(t.Leaves); n > 1 && t.Size() > 0 && t.Len(n-1) == 0 {
		return fmt.Errorf("an empty leaf at the end: %w", ErrShape)
	}
	return nil
}

func (r *fileReader) root(c cid.Cid) error {
	r.cost = freeCost
	b, err := r.block(c)
	if err != nil {
		return err
	}
	r.size = uint64(len(b.Data))
	if c.Type() == cid.Raw {
		return r.leaf(c, int64(len(b.Data)))
	}
	n, err := parseInTurn(r.ctx, b)
	if err != nil {
		return err
	}
	if len(n.links) == 0 {
		return r.leaf(c, n.bytes)
	}
	r.size = n.size
	r.most = leavesOf(n.bytes)
	r.cost += nodesCost(n.bytes) - freeCost
	return r.node(b, n, maxFileDepth)
}

// block gets a block and counts what it costs.
func (r *fileReader) block(c cid.Cid) (Block, error) {
	if r.ctx.Err() != nil {
		return Block{}, context.Cause(r.ctx)
	}
	data, err := r.get(r.ctx, c)
	if err != nil {
		return Block{}, err
	}
	b := Block{c, data}
	return b, r.cost.spend(b)
}

// node reads the nodes below a node, and then adds the node itself.
func (r *fileReader) node(b Block, n fileNode, depth int) error {
	if len(n.data) > 0 || len(n.sizes) != len(n.links) {
		return fmt.Errorf("%s: %w", b.CID, ErrShape)
	}
	from := len(r.table.Leaves)
	for i, l := range n.links {
		var err error
		if isLeaf(l, n.sizes[i]) {
			err = r.leaf(l.CID, int64(n.sizes[i]))
		} else {
			err = r.child(l.CID, n.sizes[i], depth-1)
		}
		if err == nil && i == 0 {
			err = r.expect((len(n.links) - 1) * (len(r.table.Leaves) - from))
		}
		if err != nil {
			return err
		}
	}
	r.read[b.CID] = span{from, len(r.table.Leaves)}
	if r.keepsNodes {
		r.nodes = append(r.nodes, b)
	}
	return nil
}

// child reads a node that has so many of the file's bytes.
func (r *fileReader) child(c cid.Cid, bytes uint64, depth int) error {
	if known, ok := r.read[c]; ok {
		return r.again(c, known, bytes)
	}
	if depth == 0 {
		return fmt.Errorf("deeper than %d nodes: %w", maxFileDepth, ErrShape)
	}
	b, err := r.block(c)
	if err != nil {
		return err
	}
	n, err := parseInTurn(r.ctx, b)
	if err != nil {
		return err
	}
	if uint64(n.bytes) != bytes {
		return fmt.Errorf("%s has %d bytes, and the node above it states %d", c, n.bytes, bytes)
	}
	if len(n.links) > 0 {
		return r.node(b, n, depth)
	}
	if _, ok := unwrap(b.Data, int(min(bytes, MaxLeaf))); !ok { // it has a modification time, for example
		return fmt.Errorf("leaf %s: %w", c, ErrShape)
	}
	return r.leaf(c, n.bytes)
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
	if err := r.makeRoom(known.to - known.from); err != nil {
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
		return errCostly // before any of the leaves is requested
	case n > r.limit:
		return fmt.Errorf("more than %d leaves: %w", r.limit, ErrShape)
	}
	return nil
}

// expect allocates memory for the n leaves that probably come next: in most files, all
// children of a node have as many leaves as the first. It spares the reader from copying
// the table as it grows.
func (r *fileReader) expect(n int) error {
	return r.makeRoom(min(n, min(r.most, r.limit)-len(r.table.Leaves)))
}

// makeRoom allocates memory for n more leaves, and for half as many again as there are.
func (r *fileReader) makeRoom(n int) error {
	least := len(r.table.Leaves) + n
	if least <= cap(r.table.Leaves) {
		return nil
	}
	room := max(least, min(len(r.table.Leaves)*3/2, r.limit))
	if r.grow != nil {
		if err := r.grow(room); err != nil {
			return err
		}
	}
	r.table.Leaves = append(make([]Leaf, 0, room), r.table.Leaves...)
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
	if err := r.makeRoom(1); err != nil {
		return err
	}
	r.table.Wrapped = wrapped
	r.table.Leaves = append(r.table.Leaves, Leaf{[sha256.Size]byte(digest.Digest), r.table.Size() + n})
	return nil
}
