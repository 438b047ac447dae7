package unixfs

import (
	"bytes"
	"context"
	"fmt"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
)

// A FileVisitor takes the blocks of a file one after another, depth first.
type FileVisitor interface {
	// Wants reports whether to read a node, and to visit everything below it. isWhole says
	// whether all of this is in the range that is visited.
	Wants(c cid.Cid, isWhole bool) bool

	// Node takes a node, or the only block of a file. It returns a function that is called
	// when all blocks below the node were visited.
	Node(ctx context.Context, b Block, isWhole bool) (leave func(), err error)

	// Leaf takes a leaf: size bytes of the file from an offset on. Its block is not read.
	Leaf(ctx context.Context, c cid.Cid, offset, size int64) error
}

// VisitFile visits the blocks that hold the bytes [from, to) of a file, each as often as
// it occurs, for any shape of the file's DAG. It always visits the first block.
//
// The size of the range bounds the cost. When ctx is done, VisitFile ends before the next
// block.
func VisitFile(ctx context.Context, get Getter, first Block, from, to int64, v FileVisitor) error {
	w := fileVisit{ctx: ctx, get: get, from: from, to: to, visitor: v, cost: contentCost(max(0, to-from))}
	if first.CID.Type() == cid.Raw {
		leave, err := v.Node(ctx, first, true)
		if err == nil {
			leave()
		}
		return err
	}
	n, err := parseInTurn(ctx, first)
	if err != nil {
		return err
	}
	return w.node(first, n, 0, maxFileDepth)
}

type fileVisit struct {
	ctx      context.Context
	get      Getter
	from, to int64
	visitor  FileVisitor
	cost     cost
}

// isWanted reports whether any of the size bytes from an offset on are in the range.
func (w *fileVisit) isWanted(at, size int64) bool { return max(w.from, at) < min(w.to, at+size) }

// isWhole reports whether all of the size bytes from an offset on are in the range.
func (w *fileVisit) isWhole(at, size int64) bool { return w.from <= at && at+size <= w.to }

// node visits a node whose bytes begin at an offset of the file.
func (w *fileVisit) node(b Block, n fileNode, at int64, depth int) error {
	if len(n.sizes) != len(n.links) {
		return fmt.Errorf("%s does not have a size for each of its links", b.CID)
	}
	leave, err := w.visitor.Node(w.ctx, b, w.isWhole(at, n.bytes))
	if err != nil {
		return err
	}
	defer leave()
	at += int64(len(n.data))
	for i, l := range n.links {
		size := int64(n.sizes[i])
		if w.isWanted(at, size) {
			if err := w.link(l, at, size, depth); err != nil {
				return err
			}
		}
		at += size
	}
	return nil
}

func (w *fileVisit) link(l Node, at, size int64, depth int) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if isLeaf(l, uint64(size)) {
		if w.cost -= cost(blockCost + size); w.cost < 0 {
			return errCostly
		}
		return w.visitor.Leaf(w.ctx, l.CID, at, size)
	}
	if depth == 0 {
		return errTooDeep
	}
	if !w.visitor.Wants(l.CID, w.isWhole(at, size)) {
		return nil
	}
	data, err := w.get(w.ctx, l.CID)
	if err != nil {
		return err
	}
	b := Block{l.CID, data}
	if err := w.cost.spend(b); err != nil {
		return err
	}
	n, err := parseInTurn(w.ctx, b)
	if err != nil {
		return err
	}
	if n.bytes != size {
		return fmt.Errorf("%s has %d bytes, and the node above it states %d", b.CID, n.bytes, size)
	}
	return w.node(b, n, at, depth-1)
}

// LeafBlock returns the block of a leaf, given the bytes of the leaf. The error is ErrMismatch
// if the bytes do not match the CID.
func LeafBlock(c cid.Cid, data []byte) (Block, error) {
	table := Table{Wrapped: c.Type() == cid.DagProtobuf}
	table.Add(data)
	if b := table.Block(0, data); bytes.Equal(b.CID.Hash(), c.Hash()) {
		return Block{c, b.Data}, nil
	}
	if table.Wrapped {
		table.Leaves[0].Digest = wrappedDigest(ft.TRaw, data)
		if b := table.Block(0, data); bytes.Equal(b.CID.Hash(), c.Hash()) {
			return Block{c, b.Data}, nil
		}
	}
	return Block{}, fmt.Errorf("leaf %s: %w", c, ErrMismatch)
}

// An Entry is a link of a directory's node.
type Entry struct {
	Name    string // empty for a node of the same directory
	IsInner bool   // whether it is such a node
	Node
}

// Entries returns the links of a node of a directory, in order. The error for the block of
// a file, or for one that is not UnixFS, is ErrNotDirectory.
func Entries(b Block) ([]Entry, error) {
	if b.CID.Type() != cid.DagProtobuf {
		return nil, ErrNotDirectory
	}
	var entries []Entry
	data, err := eachLink(b.Data, func(l pbLink) error {
		c, err := cid.Cast(l.hash)
		entries = append(entries, Entry{string(l.name), false, Node{c, l.size}})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", b.CID, err)
	}
	node, err := parseDirectoryNode(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is not UnixFS: %w", b.CID, ErrNotDirectory)
	case node.typ == ft.TDirectory:
		return entries, nil
	case node.typ != ft.THAMTShard:
		return nil, ErrNotDirectory
	}
	s, err := parseShard(b.Data)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", b.CID, err)
	}
	for i, l := range s.links {
		entries[i].Name, entries[i].IsInner = string(l.name), len(l.name) == 0
	}
	return entries, nil
}
