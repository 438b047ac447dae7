package unixfs

import (
	"bytes"
	"errors"
	"testing"

	ft "github.com/ipfs/boxo/ipld/unixfs"
)

// The bytes of a leaf give its block, for each kind of leaf, and other bytes give an error.
func TestLeafBlockHasTheCIDOfTheLeaf(t *testing.T) {
	for _, n := range []int{0, 1, 1000, MaxLeaf} {
		data := bytes.Repeat([]byte{7}, n)
		raw, wrapped, old := V1.NewTable(), V0.NewTable(), V0.NewTable()
		for _, table := range []*Table{raw, wrapped, old} {
			table.Add(data)
		}
		old.Leaves[0].Digest = wrappedDigest(ft.TRaw, data)
		for kind, table := range map[string]*Table{"raw": raw, "wrapped": wrapped, "of old software": old} {
			b, err := LeafBlock(table.CID(0), data)
			if err != nil || !b.CID.Equals(table.CID(0)) || b.Verify() != nil {
				t.Errorf("a leaf of %d bytes that is %s: %v, %v", n, kind, err, b.Verify())
			}
			if _, err := LeafBlock(table.CID(0), append([]byte{1}, data...)); !errors.Is(err, ErrMismatch) {
				t.Errorf("a leaf of %d bytes that is %s, with other bytes: %v", n, kind, err)
			}
		}
	}
}

func TestEntriesOfNoDirectory(t *testing.T) {
	for kind, profile := range map[string]Profile{"raw": V1, "dag-pb": V0} {
		table := profile.NewTable()
		table.Add([]byte("content"))
		if _, err := Entries(table.Block(0, []byte("content"))); !errors.Is(err, ErrNotDirectory) {
			t.Errorf("a file that is %s: %v", kind, err)
		}
	}
}
