package unixfs

import (
	"fmt"
	"io"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// A File is the DAG of one file.
type File struct {
	Node
	Table *Table
	Nodes []Block // above the leaves, children first; none where one leaf is all
}

// NewTable returns an empty table for leaves of the profile's kind.
func (p Profile) NewTable() *Table { return &Table{Wrapped: !p.params.RawLeaves} }

// Cut reads r to its end and cuts it into leaves the way `ipfs add` does,
// handing each to emit, which may be nil and must not keep the data.
func (p Profile) Cut(r io.Reader, emit func(data []byte) error) (*Table, error) {
	t := p.NewTable()
	buf := make([]byte, p.LeafSize())
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			t.Add(buf[:n])
			if emit != nil {
				if err := emit(buf[:n]); err != nil {
					return nil, err
				}
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Layout lays the profile's balanced DAG over the leaves of t: groups of as
// many leaves as a node may have links, groups of those, up to one root.
// A file without bytes is one empty leaf, which Layout adds to t.
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

func (p Profile) join(children []subtree) (Block, subtree, error) {
	nd := new(dag.ProtoNode)
	if err := nd.SetCidBuilder(p.builder()); err != nil {
		return Block{}, subtree{}, fmt.Errorf("building a file node: %w", err)
	}
	fsn := ft.NewFSNode(ft.TFile)
	parent := subtree{}
	for _, c := range children {
		fsn.AddBlockSize(c.bytes)
		if err := nd.AddRawLink("", &ipld.Link{Cid: c.CID, Size: c.Size}); err != nil {
			return Block{}, subtree{}, fmt.Errorf("building a file node: %w", err)
		}
		parent.bytes += c.bytes
		parent.Size += c.Size
	}
	data, err := fsn.GetBytes()
	if err != nil {
		return Block{}, subtree{}, fmt.Errorf("building a file node: %w", err)
	}
	nd.SetData(data)
	encoded, err := nd.EncodeProtobuf(false)
	if err != nil {
		return Block{}, subtree{}, fmt.Errorf("building a file node: %w", err)
	}
	parent.CID = nd.Cid()
	parent.Size += uint64(len(encoded))
	return Block{parent.CID, encoded}, parent, nil
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
	if fsn.Type() != ft.TFile || len(nd.Links()) > 0 {
		return nil, fmt.Errorf("%s is not a file of one block", b.CID)
	}
	return fsn.Data(), nil
}
