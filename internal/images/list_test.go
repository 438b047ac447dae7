package images

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A failingTrail is a source that cannot tell which CIDs lead to a place.
type failingTrail struct {
	Source
	err error
}

func (f failingTrail) Trail(context.Context, cid.Cid, string) ([]cid.Cid, error) { return nil, f.err }

// A tag whose manifest the lists cannot see may be one that they refuse, so it is not named.
func TestTagsAreNotListedWhereTheListsCannotSee(t *testing.T) {
	root := cid.MustParse("bafkqaaa")
	deny := filepath.Join(t.TempDir(), "deny")
	if err := os.WriteFile(deny, []byte("/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lists, err := denylist.Open([]string{deny}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err    error
		listed bool
	}{
		{fs.ErrNotExist, true},
		{errContent, true},
		{budget.ErrFull, false},
		{gateway.Error{{Err: errors.New("502 Bad Gateway")}}, false},
		{errors.New("the disk cannot be read"), false},
	} {
		q := Query{Image: layout.Image{Root: root}}
		v := view{checked: checked{failingTrail{err: c.err}, lists, q}, query: q}
		tags, err := v.admitted(t.Context(), layout.Native(q.Image), []string{"v1"})
		if (err == nil) != c.listed || slices.Contains(tags, "v1") != c.listed {
			t.Errorf("%v: %v is listed, %v", c.err, tags, err)
		}
	}
}
