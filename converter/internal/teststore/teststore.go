// Package teststore opens the stores and CAR files of tests, and fails the test on any
// error.
package teststore

import (
	"bytes"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// To returns a destination in the store in dir.
func To(t *testing.T, dir string) *destination.Store {
	t.Helper()
	dst, err := destination.ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// ToCAR returns a destination in a CAR file.
func ToCAR(t *testing.T, path string) *destination.CAR {
	t.Helper()
	dst, err := destination.ToCAR(path)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// From reads from the store in dir.
func From(t *testing.T, dir string) origin.Origin {
	t.Helper()
	o, err := origin.FromStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// FromCAR reads from a CAR file.
func FromCAR(t *testing.T, path string) origin.Origin {
	t.Helper()
	o, _, err := origin.FromCAR(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// Of puts files, by their paths below the root, into a store of their own.
func Of(t *testing.T, files map[string][]byte) (origin.Origin, cid.Cid) {
	t.Helper()
	dir := t.TempDir()
	dst := To(t, dir)
	defer dst.Close()
	ws, err := blob.NewWorkspace(t.Context(), dst.TempDir(), blob.Form{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	image := &tree.Tree{Files: map[string]tree.File{}}
	for p, data := range files {
		b, err := ws.Keep(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if image.Files[p] = (tree.File{Blob: b}); layout.IsBlobPath(p) {
			continue
		}
		if image.Files[p], err = tree.NewFile(ws, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := image.Finish(ws, nil, t.Logf); err != nil {
		t.Fatal(err)
	}
	if err := dst.Commit(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	return From(t, dir), image.Root.CID
}
