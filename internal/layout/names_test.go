package layout

import (
	"context"
	"fmt"
	"testing"

	"github.com/ipfs/go-cid"
)

// A root whose directories all have many entries costs no more than one large directory,
// though each of them is below the bounds.
func TestSearchForNamesIsBoundedByEntries(t *testing.T) {
	file := cid.MustParse("bafkqaaa")
	root, wide := cid.MustParse("bafkqaala"), cid.MustParse("bafkqaalb")
	top, below := map[string]cid.Cid{}, map[string]cid.Cid{}
	for i := range 1000 {
		top[fmt.Sprintf("n%d", i)] = wide
	}
	for i := range 10_000 {
		below[fmt.Sprintf("N%d", i)] = file // which is no name
	}
	read := 0
	list := func(_ context.Context, dir cid.Cid) (map[string]cid.Cid, error) {
		switch dir {
		case root:
			return top, nil
		case wide:
			read += len(below)
			return below, nil
		}
		return nil, nil
	}
	names, err := Names(t.Context(), list, root)
	if err == nil || read > maxSearched+len(below) {
		t.Errorf("%d names after %d entries, %v", len(names), read, err)
	}
}
