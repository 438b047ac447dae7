package converter

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A leaf that the store did not have counts as new once, and no other leaf does.
func TestReused(t *testing.T) {
	twice := func(tag string) []byte { // the same content in two layers, cut alike
		content := testimage.Random(tag, 1<<20)
		one := new(testimage.Tarball).File("srv/one", content).Close()
		two := new(testimage.Tarball).File("srv/two", content).Close()
		return testimage.OldDocker(testimage.New([]string{"app:" + tag}, one, two))
	}
	dir := t.TempDir()
	convertCounting := func(most int) *Result {
		dst := teststore.To(t, dir)
		dst.CountReused(most)
		return convertTo(t, dst, twice("1"), Options{})
	}
	first := convertCounting(math.MaxInt)
	if added := first.Bytes - first.Reused; added < 1<<20 || added > 3<<19 || first.Bytes < 2<<20 {
		t.Errorf("of 1 MiB that is there twice, %d of %d bytes are new", added, first.Bytes)
	}
	again := convertCounting(math.MaxInt)
	if again.Reused != again.Bytes {
		t.Errorf("of what was there, %d of %d bytes are not new", again.Reused, again.Bytes)
	}
	tables, err := store.Open(dir).Tables()
	if err != nil || tables < 2 {
		t.Fatalf("there are %d blobs, %v", tables, err)
	}
	for most, counted := range map[int]bool{0: false, tables - 1: false, tables: true} {
		r := convertCounting(most)
		if (r.Reused >= 0) != counted {
			t.Errorf("of %d blobs, to look at %d at most: %d bytes are not new", tables, most, r.Reused)
		}
	}
}

// A blob that only the base has is not read. A blob that a new image has as well is read,
// whatever the image is called.
func TestOntoRottenBase(t *testing.T) {
	shared := testimage.Layer("shared", 300_000)
	dir := t.TempDir()
	var root cid.Cid
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		o := Options{}
		if root.Defined() {
			o.Onto = &Base{teststore.From(t, dir), root}
		}
		root = convertTo(t, teststore.To(t, dir), testimage.OldDocker(testimage.New([]string{name + ":1"}, testimage.Layer("of base", 100), shared)), o).Root
	}
	var large string
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		if len(readFile(t, blob)) > 100_000 {
			large = blob
		}
	}
	whole := readFile(t, large)
	rotten := bytes.Clone(whole)
	rotten[len(rotten)/2] ^= 1
	onto := func(archive []byte) {
		t.Helper()
		if err := os.WriteFile(large, rotten, 0o644); err != nil {
			t.Fatal(err)
		}
		convertTo(t, teststore.To(t, dir), archive, Options{Onto: &Base{teststore.From(t, dir), root}})
	}
	onto(testimage.OldDocker(testimage.New([]string{"new:1"}, testimage.Layer("alone", 100))))
	if !bytes.Equal(readFile(t, large), rotten) {
		t.Error("a blob of the base alone was read")
	}
	onto(testimage.OldDocker(testimage.New([]string{"new:1"}, testimage.Layer("alone", 100), shared)))
	if !bytes.Equal(readFile(t, large), whole) {
		t.Errorf("%s of a new image stays rotten", layout.BlobPath("new", "…"))
	}
}
