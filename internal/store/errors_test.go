package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A name is absent if its directory does not have it. A file that is missing or damaged
// on this disk is lacking, which proves no absence.
func TestMissingFilesProveNoAbsence(t *testing.T) {
	s := Open(t.TempDir())
	root := fill(t, s, unixfs.V1, true)
	elsewhere := Open(filepath.Join(t.TempDir(), "never made"))
	for _, test := range []struct {
		store *Store
		path  string
		lacks bool
	}{
		{s, "app/blobs/c", false},
		{s, "app/manifests/m/x", false},
		{elsewhere, "app/blobs/b", true},
	} {
		_, err := test.store.Open(t.Context(), root, test.path)
		if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLacking) != test.lacks {
			t.Errorf("Open %q: %v, lacking should be %v", test.path, err, test.lacks)
		}
		_, err = test.store.ReadDir(t.Context(), root, test.path)
		if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLacking) != test.lacks {
			t.Errorf("ReadDir %q: %v, lacking should be %v", test.path, err, test.lacks)
		}
	}
	check(t, os.Remove(s.blobPath(must(s.Open(t.Context(), root, "app/blobs/b"))(t).Digest)))
	if _, err := s.Open(t.Context(), root, "app/blobs/b"); !errors.Is(err, ErrLacking) {
		t.Errorf("a blob whose file is missing: %v", err)
	}
}

// A cached directory may be damaged by a power failure. The damage does not prove that
// its entries are absent.
func TestDamagedCachedDirectoryProvesNothing(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	var nodes []unixfs.Block
	root, err := unixfs.V1.Tree(context.Background(), map[string]unixfs.Node{"app/blobs/b": {CID: kindOf(t, "b"), Size: 1}}, func(b unixfs.Block) error {
		nodes = append(nodes, b)
		return nil
	})
	check(t, err)
	for _, spoiled := range nodes {
		for _, nd := range nodes {
			c.AddNode(nd)
		}
		if _, err := s.ReadDir(t.Context(), root.CID, "app/blobs/other"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLacking) {
			t.Fatalf("a name that is not in the directory: %v", err)
		}
		check(t, os.WriteFile(s.cached.nodePath(spoiled.CID), []byte("spoiled"), 0o644))
		if _, err := s.ReadDir(t.Context(), root.CID, "app/blobs/other"); !errors.Is(err, ErrLacking) {
			t.Errorf("below a directory that was damaged: %v, want %v", err, ErrLacking)
		}
	}
}

// A converted directory may rot and lose an entry. The loss does not prove that the entry
// is absent: another source may have the image.
func TestRottenKeptDirectoryProvesNothing(t *testing.T) {
	s := Open(t.TempDir())
	root := fill(t, s, unixfs.V1, true)
	app := must(s.Trail(t.Context(), root, "app"))(t)[0]
	path := s.nodePath(app)
	data := must(os.ReadFile(path))(t)
	rotten := bytes.ReplaceAll(data, []byte("blobs"), []byte("blobz"))
	if bytes.Equal(rotten, data) {
		t.Fatal("the directory does not name blobs")
	}
	check(t, os.Chmod(path, 0o600))
	check(t, os.WriteFile(path, rotten, 0o600))
	_, opened := s.Open(t.Context(), root, "app/blobs/b")
	_, read := s.ReadFile(t.Context(), root, "app/blobs/b", 100)
	_, listed := s.ReadDir(t.Context(), root, "app/blobs")
	_, followed := s.Trail(t.Context(), root, "app/blobs/b")
	for i, err := range []error{opened, read, listed, followed} {
		if !errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
