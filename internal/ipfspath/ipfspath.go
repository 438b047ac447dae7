// Package ipfspath has the one type for a path below a CID.
package ipfspath

import (
	"path"

	"github.com/ipfs/go-cid"
)

// A Place is a file or directory on IPFS.
type Place struct {
	Root cid.Cid
	Path string // slash-separated, below Root; empty where Root itself is meant
}

// String returns the place as IPFS writes paths, without the /ipfs/ that all of
// them begin with.
func (p Place) String() string { return path.Join(p.Root.String(), p.Path) }
