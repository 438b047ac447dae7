package unixfs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
)

// A File is the DAG of one file.
type File struct {
	Node
	Table *Table
	Nodes []Block // above the leaves, children first; none for a file of one leaf
}

// NewTable returns an empty table for leaves of the profile's kind.
func (p Profile) NewTable() *Table { return &Table{Wrapped: !p.params.RawLeaves} }

// A Cutter cuts a file into leaves of a fixed length, as `ipfs add` does. It keeps no
// bytes of the file, except where leaves are wrapped.
type Cutter struct {
	table *Table
	size  int       // of a leaf
	n     int       // bytes of the next leaf so far
	hash  hash.Hash // of these bytes
	buf   []byte    // these bytes, if leaves are wrapped
}

// NewCutter returns a cutter for the profile's kind and length of leaves.
func (p Profile) NewCutter() *Cutter {
	return &Cutter{table: p.NewTable(), size: p.LeafSize(), hash: sha256.New()}
}

// Write adds the next bytes of the file. It never fails.
func (c *Cutter) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		part := b[:min(len(b), c.size-c.n)]
		if c.table.Wrapped {
			c.buf = append(c.buf, part...)
		} else {
			c.hash.Write(part)
		}
		c.n += len(part)
		b = b[len(part):]
		if c.n == c.size {
			c.cut()
		}
	}
	return written, nil
}

// WriteLeaf adds at most MaxLeaf bytes as a leaf of their own, given their sha2-256
// digest. For a profile with a fixed length of leaves, V0, it is the same as Write.
func (c *Cutter) WriteLeaf(b []byte, digest [sha256.Size]byte) {
	if len(b) > MaxLeaf {
		panic(fmt.Sprintf("a leaf of %d bytes", len(b))) // no reader would accept it
	}
	if c.table.Wrapped {
		c.Write(b)
		return
	}
	c.EndLeaf()
	c.table.append(digest, len(b))
}

// EndLeaf ends the leaf of the last bytes, so that the next bytes begin another one. It does
// nothing for a profile with a fixed length of leaves, V0.
func (c *Cutter) EndLeaf() {
	if c.n > 0 && !c.table.Wrapped {
		c.cut()
	}
}

func (c *Cutter) cut() {
	if c.table.Wrapped {
		c.table.Add(c.buf)
	} else {
		c.table.append([sha256.Size]byte(c.hash.Sum(nil)), c.n)
	}
	c.buf, c.n = c.buf[:0], 0
	c.hash.Reset()
}

// Table returns the leaves of the file. The cutter must not be used afterwards.
func (c *Cutter) Table() *Table {
	if c.n > 0 {
		c.cut()
	}
	return c.table
}

// Layout builds the profile's balanced DAG over the leaves of t: a node for each group
// of leaves, a node for each group of those, and so on up to one root. An empty file is
// one empty leaf, which Layout adds to t.
func (p Profile) Layout(t *Table) (*File, error) {
	if len(t.Leaves) == 0 {
		t.Add(nil)
	}
	level := make([]subtree, len(t.Leaves))
	for i := range level {
		n := t.Len(i)
		level[i] = subtree{Node{t.CID(i), uint64(t.blockLen(n))}, uint64(n)}
	}
	f := &File{Table: t}
	for len(level) > 1 {
		above := make([]subtree, 0, len(level)/p.params.FileDAGWidth+1)
		for len(level) > 0 {
			n := min(len(level), p.params.FileDAGWidth)
			block, parent, err := p.join(level[:n])
			if err != nil {
				return nil, err
			}
			f.Nodes = append(f.Nodes, block)
			above = append(above, parent)
			level = level[n:]
		}
		level = above
	}
	f.Node = level[0].Node
	return f, nil
}

// A subtree is a node and the number of the file's bytes below it.
type subtree struct {
	Node
	bytes uint64
}

// join makes the node above children.
// https://specs.ipfs.tech/unixfs/
func (p Profile) join(children []subtree) (Block, subtree, error) {
	var bytes, below uint64
	for _, c := range children {
		bytes += c.bytes
		below += c.Size
	}
	message := make([]byte, 0, 16+8*len(children))
	message = append(message, 0x08, 0x02)                        // Type: File
	message = binary.AppendUvarint(append(message, 0x18), bytes) // filesize
	for _, c := range children {
		message = binary.AppendUvarint(append(message, 0x20), c.bytes) // blocksizes
	}
	node := make([]byte, 0, 64*len(children)+len(message)+16)
	for _, c := range children {
		node = appendLink(node, "", c.Node)
	}
	block, parent, err := p.seal(node, message, below)
	return block, subtree{parent, bytes}, err
}

// SmallFile returns the content of a file that is one block.
func SmallFile(b Block) ([]byte, error) {
	if b.CID.Type() == cid.Raw {
		return b.Data, nil
	}
	nd, err := dag.DecodeProtobuf(b.Data)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", b.CID, err)
	}
	fsn, err := ft.FSNodeFromBytes(nd.Data())
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", b.CID, err)
	}
	if t := fsn.Type(); t != ft.TFile && t != ft.TRaw || len(nd.Links()) > 0 {
		return nil, fmt.Errorf("%s is not a file of one block", b.CID)
	}
	return fsn.Data(), nil
}
