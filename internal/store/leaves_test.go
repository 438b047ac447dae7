package store

import (
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

func TestLeavesAreThoseOfAllBlobs(t *testing.T) {
	s := Open(t.TempDir())
	if l, err := s.Leaves(t.Context()); err != nil || l.Len() != 0 {
		t.Errorf("in an empty store: %v, %v", l, err)
	}
	img := put(t, s, unixfs.V1, long("a"), long("b"), long("b")+"and more")
	distinct := map[[32]byte]bool{}
	for _, f := range img.blobs {
		for _, leaf := range f.Table.Leaves {
			distinct[leaf.Digest] = true
		}
	}
	all := must(s.Leaves(t.Context()))(t)
	if all.Len() != len(distinct) {
		t.Errorf("the set has %d leaves, want %d", all.Len(), len(distinct))
	}
	for digest := range distinct {
		if !all.Has(digest) {
			t.Errorf("leaf %x is missing", digest)
		}
		digest[0]++
		if all.Has(digest) {
			t.Errorf("leaf %x should not be there", digest)
		}
	}
	a, b := img.blobs[long("a")], img.blobs[long("b")]
	some := must(s.Leaves(t.Context(), a.CID, b.CID))(t)
	if some.Has(a.Table.Leaves[0].Digest) || !some.Has(b.Table.Leaves[0].Digest) { // the longer blob begins with the leaves of a as well
		t.Error("the wrong leaves were left out")
	}
}
