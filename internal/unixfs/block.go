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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// ErrMismatch says that content does not have the CID or digest by which it was
// requested. It wraps no error, so false content never looks like the end of a file.
var ErrMismatch = errors.New("content is not what its hash says")

// minDigest is the least number of bytes of a hash that proves anything.
const minDigest = 32

// Verify returns an error if the data does not match the CID, or if the CID's hash is
// too weak to prove that it does.
func (b Block) Verify() error {
	if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, b.CID); err != nil {
		return fmt.Errorf("block %s: %w", b.CID, err)
	}
	if p := b.CID.Prefix(); p.MhType != mh.IDENTITY && (p.MhType == mh.SHA1 || p.MhLength < minDigest) {
		return fmt.Errorf("block %s: its hash is too weak to prove anything", b.CID)
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

// Inline returns the data of a block that is contained in its CID.
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

// A Getter returns the data of the block with the CID c. Its callers do not verify the
// data again.
type Getter func(ctx context.Context, c cid.Cid) ([]byte, error)

// limited returns a getter of at most bytes in all, and otherwise the error tooLarge. A
// block counts each time that it is read, since hostile nodes link to one block again
// and again. A short block counts as a kilobyte.
func limited(get Getter, bytes int, tooLarge string) Getter {
	return func(ctx context.Context, c cid.Cid) ([]byte, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		data, err := get(ctx, c)
		if err != nil {
			return nil, err
		}
		if bytes -= max(len(data), 1<<10); bytes < 0 {
			return nil, errors.New(tooLarge)
		}
		return data, budget.Spend(ctx, max(len(data), 1<<10))
	}
}

// Children returns the links of a block in order, and whether the block is a directory
// or a node of a sharded one. The links of a file lead to its nodes and leaves.
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

// Links returns the links of a raw or dag-pb block in order, whether or not it is
// UnixFS. A block with another codec is an error.
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
