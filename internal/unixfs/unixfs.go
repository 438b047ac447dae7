// Package unixfs builds UnixFS files and directories, block for block as Kubo does, and
// reads them. Only this package uses boxo's UnixFS code.
//
// A file is a sequence of leaves: runs of its bytes, each in a block of its own.
// Everything else about the file follows from the list of its leaves, a Table, so the
// rest of the project works with tables: a builder lays nodes over one, a client checks
// bytes against one, and the store cuts blocks out of a plain file by one. The caller
// decides where to cut, into leaves of at most MaxLeaf bytes; a Cutter cuts as `ipfs add`
// does.
//
// Blocks from strangers are hostile. Every reader bounds its work by links and blocks,
// not by what it finds in them, and ends with its context.
//
// No function holds a whole file except ReadAll, and none changes a global of boxo.
package unixfs

import (
	"errors"
	"fmt"

	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// MaxLeaf is the most bytes of a leaf. Every IPFS implementation transfers blocks of
// 1 MiB; many refuse more than 2.
const MaxLeaf = 1 << 20

// MaxBlock is the most bytes of a block. IPFS nodes transfer no larger ones.
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

// A Node is a DAG as a link or a directory entry states it.
type Node struct {
	CID  cid.Cid
	Size uint64 // bytes of its block and of all blocks below
}

// ErrShape says that no table can describe a file's DAG, though the DAG may be valid. A
// table describes leaves that are raw, or dag-pb as made by `ipfs add`, with a sha2-256
// hash and at most MaxLeaf bytes, below nodes that have links only.
var ErrShape = errors.New("a file of an unusual shape")
