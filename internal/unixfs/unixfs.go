// Package unixfs is the one door to boxo: it builds UnixFS files, directories
// and CARs, block for block as Kubo does, and walks directories.
//
// A file is made of leaves: consecutive runs of its bytes, each a block of its
// own. Everything else about the file follows from the list of them, so the
// list, Table, is what the rest of the project works with: building lays nodes
// over a table, verifying holds bytes against it, and the store cuts blocks out
// of a plain file by it. Leaves may have any size up to MaxLeaf, since where to
// cut is the caller's business; a Cutter does it the way `ipfs add` does.
//
// Nothing here holds a whole file, and no global of boxo is touched.
package unixfs

import (
	"errors"
	"fmt"

	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// MaxLeaf is the most bytes that a leaf holds. Every IPFS implementation moves
// blocks of 1 MiB; many refuse more than 2.
const MaxLeaf = 1 << 20

// MaxBlock is the most bytes of a block that is read. IPFS nodes hand on no
// larger ones.
const MaxBlock = 2 << 20

// A Profile is a set of import settings that fixes the CID of every file and
// directory (IPIP-499). It changes the DAG, never a byte of a file.
type Profile struct {
	name   string
	params uio.UnixFSProfile
}

var (
	// V1 is IPIP-499's unixfs-v1-2025: raw leaves, at most 1024 links a node.
	V1 = Profile{"unixfs-v1-2025", uio.UnixFS_v1_2025}

	// V0 is IPIP-499's unixfs-v0-2015, the default of `ipfs add -r`.
	V0 = Profile{"unixfs-v0-2015", uio.UnixFS_v0_2015}
)

// ParseProfile returns the profile of that name.
func ParseProfile(name string) (Profile, error) {
	for _, p := range []Profile{V1, V0} {
		if p.name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("unknown CID profile %q: use %s or %s", name, V1, V0)
}

// String returns the name that IPIP-499 gives to the profile.
func (p Profile) String() string { return p.name }

// LeafSize is the number of bytes after which `ipfs add` begins a new leaf.
func (p Profile) LeafSize() int { return int(p.params.ChunkSize) }

func (p Profile) builder() cid.Builder {
	if p.params.CIDVersion == 0 {
		return cid.V0Builder{}
	}
	return cid.V1Builder{Codec: cid.DagProtobuf, MhType: mh.SHA2_256}
}

// A Node is what a directory records about an entry.
type Node struct {
	CID  cid.Cid
	Size uint64 // bytes of all blocks below and including this one, as links state it
}

// ErrShape says that a file's DAG is none that a table can stand for, though it
// may be a right one: leaves are dag-pb as `ipfs add` makes them or raw, of
// sha2-256 and at most MaxLeaf bytes, and everything above them only links.
var ErrShape = errors.New("a file of an unusual shape")
