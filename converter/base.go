package converter

import (
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
)

// A Base is a root that images are put onto: the new root holds what it holds,
// and them.
type Base struct {
	From origin.Origin
	Root cid.Cid
}
