package car

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

func TestFileIsReadBack(t *testing.T) {
	blocks := blockMap{}
	for i := range 2500 {
		blocks.put(rawBlock(fmt.Sprint("block ", i)))
	}
	root := rawBlock("block 0").CID
	file := write(t, blocks, root)
	car, err := Open(bytes.NewReader(file), int64(len(file)))
	check(t, err)
	if len(car.Roots) != 1 || !car.Roots[0].Equals(root) {
		t.Errorf("the roots are %v", car.Roots)
	}
	for hash, want := range blocks {
		c := cid.NewCidV1(cid.Raw, []byte(hash))
		if got, found, err := car.Block(c); !found || err != nil || !bytes.Equal(got, want) {
			t.Errorf("block %s: %d bytes, %v, %v", c, len(got), found, err)
		}
	}
	for n := 0; n < len(file); n += 101 {
		car, err := Open(bytes.NewReader(file[:n]), int64(n))
		if err == nil && len(car.blocks) == len(blocks) {
			t.Fatalf("cut off at %d of %d bytes it has all blocks", n, len(file))
		}
	}
}

func write(t testing.TB, blocks blockMap, root cid.Cid) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, root)
	check(t, err)
	for _, hash := range slices.Sorted(maps.Keys(blocks)) {
		check(t, w.Put(unixfs.Block{CID: cid.NewCidV1(cid.Raw, []byte(hash)), Data: blocks[hash]}))
	}
	return b.Bytes()
}

// A block that is copied from a reader is complete, or PutFrom returns an error.
func TestBlockFromAReader(t *testing.T) {
	var file bytes.Buffer
	e, err := NewEncoder(&file)
	check(t, err)
	b := rawBlock("content")
	check(t, e.PutFrom(b.CID, int64(len(b.Data)), strings.NewReader("content and more")))
	check(t, e.Put(b)) // an Encoder writes what it gets
	if err := e.PutFrom(b.CID, int64(len(b.Data)), strings.NewReader("cont")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reader that ends early: %v", err)
	}
	r, err := NewReader(&file)
	check(t, err)
	for range 2 {
		c, _, err := r.Next()
		check(t, err)
		if data, err := r.Block(); err != nil || !c.Equals(b.CID) || string(data) != "content" {
			t.Errorf("%s: %q, %v", c, data, err)
		}
	}
}

// Reading a CAR ends within bounds, whatever it contains.
func FuzzReader(f *testing.F) {
	blocks := blockMap{}
	for _, b := range []unixfs.Block{rawBlock("a"), rawBlock("b")} {
		blocks.put(b)
	}
	f.Add(write(f, blocks, rawBlock("a").CID))
	f.Add([]byte("\x0a\xa1gversion\x02" + string(make([]byte, 40))))
	f.Fuzz(func(t *testing.T, file []byte) {
		if car, err := Open(bytes.NewReader(file), int64(len(file))); err == nil {
			for hash := range car.blocks {
				if at := car.blocks[hash]; at.offset+int64(at.length) > int64(len(file)) {
					t.Fatalf("a block ends at %d of %d bytes", at.offset+int64(at.length), len(file))
				}
			}
		}
		r, err := NewReader(bytes.NewReader(file))
		for err == nil {
			if _, _, err = r.Next(); err == nil {
				_, err = r.Block()
			}
		}
		if err == io.ErrNoProgress {
			t.Fatal(err)
		}
	})
}

// A blockMap holds blocks by multihash.
type blockMap map[string][]byte

func (m blockMap) put(b unixfs.Block) { m[string(b.CID.Hash())] = b.Data }

func rawBlock(content string) unixfs.Block {
	table := unixfs.V1.NewTable()
	table.Add([]byte(content))
	return table.Block(0, []byte(content))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
