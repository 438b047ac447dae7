package unixfs

import (
	"context"
	"fmt"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

const (
	maxLeaves    = 1 << 21   // of a file: half a terabyte in leaves of `ipfs add`
	maxFileDepth = 16        // nodes above a leaf
	maxNodes     = 128 << 20 // bytes of the nodes of a file, enough for maxLeaves
)

// decodeInTurn is decodeFile for many nodes on behalf of a request.
func decodeInTurn(ctx context.Context, c cid.Cid, data []byte) (*dag.ProtoNode, *ft.FSNode, error) {
	done, err := budget.Turn(ctx, len(data))
	if err != nil {
		return nil, nil, err
	}
	defer done()
	return decodeFile(c, data)
}

func decodeFile(c cid.Cid, data []byte) (*dag.ProtoNode, *ft.FSNode, error) {
	if c.Type() != cid.DagProtobuf {
		return nil, nil, fmt.Errorf("%s: %w", c, ErrShape)
	}
	nd, err := dag.DecodeProtobuf(data)
	if err != nil {
		return nil, nil, fmt.Errorf("decoding %s: %w", c, err)
	}
	fsn, err := ft.FSNodeFromBytes(nd.Data())
	if err != nil {
		return nil, nil, fmt.Errorf("decoding %s: %w", c, err)
	}
	if t := fsn.Type(); t != ft.TFile && t != ft.TRaw {
		return nil, nil, fmt.Errorf("%s is not a file", c)
	}
	return nd, fsn, nil
}

// FileSize returns the number of bytes of a file, given its first block.
func FileSize(b Block) (int64, error) {
	if b.CID.Type() == cid.Raw {
		return int64(len(b.Data)), nil
	}
	_, fsn, err := decodeFile(b.CID, b.Data)
	if err != nil {
		return 0, err
	}
	return partSizes(b.CID, fsn)
}

// partSizes returns the number of a file's bytes in and below a node, as the node states
// it. A node that contradicts itself is an error.
func partSizes(c cid.Cid, fsn *ft.FSNode) (int64, error) {
	sum := uint64(len(fsn.Data()))
	for i := range fsn.NumChildren() {
		if sum += fsn.BlockSize(i); fsn.BlockSize(i) > maxFileSize || sum > maxFileSize {
			return 0, fmt.Errorf("%s states more bytes than a file may have", c)
		}
	}
	if sum != fsn.FileSize() {
		return 0, fmt.Errorf("%s has %d bytes and states %d", c, sum, fsn.FileSize())
	}
	return int64(sum), nil
}

const maxFileSize = 1 << 50 // bytes

// maxBlocks returns the most blocks of a file of size bytes. A file with a few bytes in
// each block costs far more work than it has bytes, and no honest tool makes one.
func maxBlocks(size int64) int { return 2048 + int(min(size/minMeanLeaf, 2*maxLeaves)) }

// minMeanLeaf is the least number of bytes that the leaves of a file have on average.
const minMeanLeaf = 64

// isLeaf reports whether a link of a file's node leads to a leaf of n bytes. A link
// states the number of bytes of all blocks below it, which shows whether there is a node
// in between. If the link states a false number, the leaf does not match.
func isLeaf(l *ipld.Link, n int) bool {
	if l.Cid.Type() == cid.Raw {
		return true
	}
	return l.Size == uint64(wrappedLen(n))
}

// InnerNodes returns the children of a file's node that are not leaves, so that the
// caller can fetch them at the same time.
func InnerNodes(b Block) ([]cid.Cid, error) {
	if b.CID.Type() == cid.Raw {
		return nil, nil
	}
	nd, fsn, err := decodeFile(b.CID, b.Data)
	if err != nil {
		return nil, err
	}
	if fsn.NumChildren() != len(nd.Links()) {
		return nil, fmt.Errorf("%s: %w", b.CID, ErrShape)
	}
	var inner []cid.Cid
	for i, l := range nd.Links() {
		if n := fsn.BlockSize(i); n > MaxLeaf || !isLeaf(l, int(n)) {
			inner = append(inner, l.Cid)
		}
	}
	return inner, nil
}
