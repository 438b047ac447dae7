package origin

import (
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// Address returns a root as image names spell it, where they can.
func Address(root cid.Cid) string {
	if name, err := cidname.Format(root); err == nil {
		return name
	}
	return root.String()
}
