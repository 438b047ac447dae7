package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

func TestImagesListsRecords(t *testing.T) {
	s := Open(t.TempDir())
	if records, err := s.Images(t.Context()); err != nil || len(records) > 0 {
		t.Errorf("in an empty store: %v, %v", records, err)
	}
	old := put(t, s, unixfs.V1, "a")
	recent := put(t, s, unixfs.V1, "a", "b") // put gives an image with more blobs a later time
	records, err := s.Images(t.Context())
	if err != nil || len(records) != 2 || records[0].Root != recent.root.String() || records[1].Root != old.root.String() {
		t.Errorf("the images are %v, %v", records, err)
	}
	whole := must(os.ReadFile(s.imagePath(recent.root)))(t)
	for name, record := range map[string]string{
		"half": string(whole[:len(whole)/2]), "empty": "", "another's": string(must(os.ReadFile(s.imagePath(old.root)))(t)), "long": strings.Repeat(" ", maxRecord+1),
	} {
		check(t, os.WriteFile(s.imagePath(recent.root), []byte(record), 0o644))
		records, err := s.Images(t.Context())
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), s.imagePath(recent.root)) || len(records) != 1 || records[0].Root != old.root.String() {
			t.Errorf("with a record that is %s: %v, %v", name, records, err)
		}
		collect(t, s)
	}
	recent.mustBeIn(t, s) // a damaged record keeps its image, too
	check(t, s.Remove(t.Context(), recent.root))
	if records, err := s.Images(t.Context()); err != nil || len(records) != 1 {
		t.Errorf("without the damaged record: %v, %v", records, err)
	}
}

func TestRemoveRemovesTheRecord(t *testing.T) {
	s := Open(t.TempDir())
	img := put(t, s, unixfs.V1, "content")
	check(t, s.Remove(t.Context(), cid.NewCidV0(img.root.Hash()))) // in the other CID version
	if err := s.Remove(t.Context(), img.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second time: %v", err)
	}
	img.mustBeIn(t, s)
	none := Open(filepath.Join(t.TempDir(), "none"))
	if err := none.Remove(t.Context(), img.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a store: %v", err)
	}
	if _, err := os.Stat(none.Dir()); err == nil {
		t.Error("removing made a store")
	}
}

func TestSizeIsTheCumulativeSizeOfIPFS(t *testing.T) {
	s := Open(t.TempDir())
	img := put(t, s, unixfs.V1, long("content"))
	all, err := s.Size(t.Context(), img.root, "")
	if err != nil || all < uint64(len(long("content"))) || all > uint64(len(long("content"))+5000) {
		t.Errorf("%d bytes, %v", all, err)
	}
	app, err := s.Size(t.Context(), img.root, "app")
	if err != nil || app >= all || app < all-100 {
		t.Errorf("%d of %d bytes, %v", app, all, err)
	}
}
