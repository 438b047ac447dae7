package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
)

// written puts small files, by their paths, into a CAR file.
func written(t *testing.T, files map[string]string) (origin.Origin, cid.Cid) {
	t.Helper()
	ws, err := blob.NewWorkspace(t.Context(), t.TempDir(), blob.Form{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	image := &Tree{Files: map[string]File{}}
	for p, data := range files {
		f, err := NewFile(ws, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		image.Files[p] = f
	}
	if err := image.Finish(ws, nil, t.Logf); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "app.car")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := car.NewWriter(f, image.Root.CID)
	if err != nil {
		t.Fatal(err)
	}
	if err := image.WriteBlocks(t.Context(), w.Put); err != nil {
		t.Fatal(err)
	}
	from, _, err := origin.FromCAR(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close() })
	return from, image.Root.CID
}

// Small files are kept in memory, so all of a root's together are bounded.
func TestSmallFilesAreBoundedTogether(t *testing.T) {
	files := map[string]string{}
	for n := range 10 {
		files[fmt.Sprintf("app/manifests/v%d", n)] = fmt.Sprintf(`{"schemaVersion":%d}`, n)
	}
	from, root := written(t, files)
	read := func(room int) (*treeReader, error) {
		r := newTreeReader(from)
		r.small = maxSmall - room
		return r, r.directory(t.Context(), "", root)
	}
	all, err := read(maxSmall)
	if err != nil || len(all.tree.Files) != len(files) {
		t.Fatalf("%d files were read, want %d: %v", len(all.tree.Files), len(files), err)
	}
	for room, want := range map[int]string{all.small: "", all.small - 1: "more than 134217728 bytes"} {
		_, err := read(room)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("room for %d bytes: the error is %v, want %q", room, err, want)
		}
	}
}

// The number of paths is bounded as well: one file may be in any number of directories.
func TestPathsAreBounded(t *testing.T) {
	from, root := written(t, map[string]string{"app/manifests/v1": "{}"})
	r := newTreeReader(from)
	r.paths = MaxPaths - 2
	if err := r.directory(t.Context(), "", root); err == nil || !strings.Contains(err.Error(), "more than 262144 files and directories") {
		t.Errorf("the error is %v", err)
	}
}
