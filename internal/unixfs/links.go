package unixfs

import (
	"fmt"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
)

// Links returns what a raw or dag-pb block links to, in order, whether or not it is
// UnixFS. Blocks with another codec are an error.
func Links(b Block) ([]cid.Cid, error) {
	switch b.CID.Type() {
	case cid.Raw:
		return nil, nil
	case cid.DagProtobuf:
		nd, err := dag.DecodeProtobuf(b.Data)
		if err != nil {
			return nil, fmt.Errorf("decoding %s: %w", b.CID, err)
		}
		links := make([]cid.Cid, len(nd.Links()))
		for i, l := range nd.Links() {
			links[i] = l.Cid
		}
		return links, nil
	}
	return nil, fmt.Errorf("block %s has the codec 0x%x, and only raw and dag-pb blocks can be followed", b.CID, b.CID.Type())
}
