package unixfs

import (
	"fmt"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
)

// Children returns what a block links to, in order, and whether it is a
// directory or a part of a sharded one. Those of a file are its nodes and
// leaves; a block without children is a file of its own, or a leaf.
func Children(b Block) (children []Node, directory bool, err error) {
	if b.CID.Type() == cid.Raw {
		return nil, false, nil
	}
	nd, err := dag.DecodeProtobuf(b.Data)
	if err != nil {
		return nil, false, fmt.Errorf("decoding %s: %w", b.CID, err)
	}
	fsn, err := ft.FSNodeFromBytes(nd.Data())
	if err != nil {
		return nil, false, fmt.Errorf("decoding %s: %w", b.CID, err)
	}
	for _, l := range nd.Links() {
		children = append(children, Node{l.Cid, l.Size})
	}
	return children, fsn.Type() == ft.TDirectory || fsn.Type() == ft.THAMTShard, nil
}
