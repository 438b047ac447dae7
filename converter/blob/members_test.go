package blob

import (
	"bytes"
	"slices"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Cuts are made where the members of a gzip file end, even small ones. A layer with a
// member that is too large for a block is cut like any other file.
func TestMembers(t *testing.T) {
	word, large := testimage.Gzipped([]byte("word")), testimage.Gzipped(testimage.Random("x", unixfs.MaxLeaf+1))
	for name, test := range map[string]struct {
		members [][]byte
		cuts    int
		broken  bool
	}{
		"one":         {[][]byte{word}, 1, false},
		"several":     {[][]byte{word, testimage.Gzipped(nil), testimage.Gzipped(testimage.Layer("a", 10_000)), word}, 4, false},
		"large":       {[][]byte{word, large}, 0, false},
		"damaged":     {[][]byte{word, word[:15]}, 0, true},
		"then a byte": {[][]byte{word, {0}}, 0, true},
		"then zeros":  {[][]byte{word, make([]byte, 100)}, 0, true},
		"cut off":     {[][]byte{word[:5]}, 0, true},
	} {
		c := &Content{ws: &Workspace{}, encoding: Gzipped}
		layer, err := c.look(bytes.NewReader(slices.Concat(test.members...)))
		if err != nil {
			t.Fatal(err)
		}
		if len(layer.cuts) != test.cuts || (layer.diffID == "") != test.broken {
			t.Errorf("%s: %d cuts, contents %q", name, len(layer.cuts), layer.diffID)
		}
		end := 0
		for i, cut := range layer.cuts {
			if end += len(test.members[i]); cut != int64(end) {
				t.Errorf("%s: member %d ends at %d, want %d", name, i, cut, end)
			}
		}
	}
}
