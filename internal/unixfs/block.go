package unixfs

import (
	"context"
	"errors"
	"fmt"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// ErrMismatch says that content is not what it was asked for by: it does not
// have that CID, or that digest. It wraps nothing, so that no lie can look like
// the end of a file.
var ErrMismatch = errors.New("content is not what its hash says")

// minDigest is how many bytes of a hash are a proof.
const minDigest = 32

// Verify reports why the block's data is not what its CID says, or that nobody
// can say: there are hashes that are no proof.
func (b Block) Verify() error {
	if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, b.CID); err != nil {
		return fmt.Errorf("block %s: %w", b.CID, err)
	}
	if p := b.CID.Prefix(); p.MhType != mh.IDENTITY && (p.MhType == mh.SHA1 || p.MhLength < minDigest) {
		return fmt.Errorf("block %s: its hash is no proof", b.CID)
	}
	if len(b.Data) > MaxBlock {
		return fmt.Errorf("block %s has %d bytes, and the most is %d", b.CID, len(b.Data), MaxBlock)
	}
	got, err := b.CID.Prefix().Sum(b.Data)
	if err != nil {
		return fmt.Errorf("block %s: %w", b.CID, err)
	}
	if !got.Equals(b.CID) {
		return fmt.Errorf("block %s: %w", b.CID, ErrMismatch)
	}
	return nil
}

// Inline returns the data of a block whose CID holds it.
func Inline(c cid.Cid) (data []byte, ok bool) {
	if c.Prefix().MhType != mh.IDENTITY {
		return nil, false
	}
	d, err := mh.Decode(c.Hash())
	if err != nil {
		return nil, false
	}
	return d.Digest, true
}

// A Block is the unit that IPFS stores and addresses.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// A Getter returns the data of the block that c addresses. What it returns is
// trusted to be that block's.
type Getter func(ctx context.Context, c cid.Cid) ([]byte, error)

// limited returns a getter of so many bytes in all, however often one block is
// among them: nodes may name one another's blocks again and again.
func limited(get Getter, bytes int, beyond string) Getter {
	return func(ctx context.Context, c cid.Cid) ([]byte, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		data, err := get(ctx, c)
		if err != nil {
			return nil, err
		}
		if bytes -= max(len(data), 1<<10); bytes < 0 {
			return nil, errors.New(beyond)
		}
		return data, nil
	}
}

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
