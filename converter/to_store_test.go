package converter

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Each leaf that was not there is new, once, and nothing else is.
func TestReused(t *testing.T) {
	twice := func(tag string) []byte { // in two layers, of which each is cut alike
		content := random(tag, 3<<20)
		one := new(tarball).file("srv/one", content).close()
		two := new(tarball).file("srv/two", content).close()
		return oldDocker(newTestImage([]string{"app:" + tag}, one, two))
	}
	dir := t.TempDir()
	first := convertTo(t, toStoreIn(t, dir), twice("1"), Options{CountReused: math.MaxInt})
	if added := first.Bytes - first.Reused; added < 3<<20 || added > 4<<20 || first.Bytes < 6<<20 {
		t.Errorf("of 3 MiB that are there twice, %d of %d bytes are new", added, first.Bytes)
	}
	again := convertTo(t, toStoreIn(t, dir), twice("1"), Options{CountReused: math.MaxInt})
	if again.Reused != again.Bytes {
		t.Errorf("of what was there, %d of %d bytes are not new", again.Reused, again.Bytes)
	}
	tables, err := store.Open(dir).Tables()
	if err != nil || tables < 2 {
		t.Fatalf("there are %d blobs, %v", tables, err)
	}
	for most, counted := range map[int]bool{0: false, tables - 1: false, tables: true} {
		r := convertTo(t, toStoreIn(t, dir), twice("1"), Options{CountReused: most})
		if (r.Reused >= 0) != counted {
			t.Errorf("of %d blobs, to look at %d at most: %d bytes are not new", tables, most, r.Reused)
		}
	}
}

// A blob of a base is not read; where a new image has it as well, it is, under
// whatever name.
func TestOntoRottenBase(t *testing.T) {
	shared := layerTar("shared", 2<<20)
	dir := t.TempDir()
	var root cid.Cid
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		o := Options{}
		if root.Defined() {
			o.Onto = &Base{fromStore(t, dir), root}
		}
		root = convertTo(t, toStoreIn(t, dir), oldDocker(newTestImage([]string{name + ":1"}, layerTar("of base", 100), shared)), o).Root
	}
	var large string
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		if len(readFile(t, blob)) > 1<<20 {
			large = blob
		}
	}
	whole := readFile(t, large)
	rotten := bytes.Clone(whole)
	rotten[1<<20] ^= 1
	onto := func(archive []byte) {
		t.Helper()
		if err := os.WriteFile(large, rotten, 0o644); err != nil {
			t.Fatal(err)
		}
		convertTo(t, toStoreIn(t, dir), archive, Options{Onto: &Base{fromStore(t, dir), root}})
	}
	onto(oldDocker(newTestImage([]string{"new:1"}, layerTar("alone", 100))))
	if !bytes.Equal(readFile(t, large), rotten) {
		t.Error("a blob of the base alone was read")
	}
	onto(oldDocker(newTestImage([]string{"new:1"}, layerTar("alone", 100), shared)))
	if !bytes.Equal(readFile(t, large), whole) {
		t.Errorf("%s of a new image stays rotten", layout.BlobPath("new", "…"))
	}
}
