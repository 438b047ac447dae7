package origin

import (
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// Recorded returns the digest of a file's content as the place that has it knows
// it, or none. A store computed it when it took the leaves in that Open verifies:
// with those, the content has that digest, and need not be hashed as a whole.
func (o Origin) Recorded(file cid.Cid) digest.Digest {
	if p, ok := o.place.(interface{ recorded(cid.Cid) digest.Digest }); ok {
		return p.recorded(file)
	}
	return ""
}

func (p inStore) recorded(file cid.Cid) digest.Digest {
	f, err := p.OpenFile(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	return f.Digest
}
