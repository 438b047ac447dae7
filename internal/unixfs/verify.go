package unixfs

import (
	"errors"
	"fmt"

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

// InnerNodes returns those of a file's node's children that are no leaves, so
// that they can be fetched at the same time.
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
