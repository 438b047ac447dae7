package converter

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/verify"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A root need not hold images in format 1 to be copied: the copy has the same blocks.
// A store refuses only blocks that it could not follow later.
func TestCopyTakesAnyDAG(t *testing.T) {
	file := dagBlock(cid.Raw, []byte("hello"))
	symlink := dagBlock(cid.DagProtobuf, dagPB("\x08\x04\x12\x05hello"))
	link := dagBlock(cid.DagProtobuf, dagPB("\x08\x01", dagLink{"file", file}, dagLink{"link", symlink}))
	noUnixFS := dagBlock(cid.DagProtobuf, dagPB("anything", dagLink{"a", file}, dagLink{"b", symlink}))
	layout, layoutRoot := teststore.Of(t, map[string][]byte{
		"index.json":                 []byte(`{"schemaVersion":2,"manifests":[]}`),
		"oci-layout":                 []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"app/README":                 []byte("not an image"),
		"app/blobs/sha256/something": bytes.Repeat([]byte("x"), 3<<20),
	})
	for name, test := range map[string]struct {
		from    origin.Origin
		root    cid.Cid
		refused bool // by a store
	}{
		"a directory of another layout": {layout, layoutRoot, false},
		"a file":                        {carOf(t, file), file.CID, false},
		"a directory with a link":       {carOf(t, link, file, symlink), link.CID, false},
		"no UnixFS":                     {carOf(t, noUnixFS, file, symlink), noUnixFS.CID, true},
	} {
		dir := t.TempDir()
		store, one, two := filepath.Join(dir, "store"), filepath.Join(dir, "1.car"), filepath.Join(dir, "2.car")
		copyTo(t, test.from, test.root, teststore.ToCAR(t, one))
		if test.refused {
			dst := teststore.To(t, store)
			if _, err := Copy(t.Context(), test.from, test.root, dst, CopyOptions{}); err == nil || !strings.Contains(err.Error(), "a store holds nothing else") {
				t.Errorf("%s: into a store: %v", name, err)
			}
			dst.Close()
			continue
		}
		copyTo(t, teststore.FromCAR(t, one), test.root, teststore.To(t, store))
		copyTo(t, teststore.From(t, store), test.root, teststore.ToCAR(t, two))
		if !bytes.Equal(readFile(t, one), readFile(t, two)) {
			t.Errorf("%s: the copy of a copy has other blocks", name)
		}
		v := verify.New(teststore.From(t, store), func(f verify.Fault) { t.Errorf("%s: %v", name, f) }, t.Logf)
		if verified, err := v.Blocks(t.Context(), test.root); err != nil || verified == nil {
			t.Errorf("%s: verified %v, %v", name, verified, err)
		}
	}
	cbor := dagBlock(cid.DagCBOR, []byte{0xa0})
	dst := teststore.ToCAR(t, filepath.Join(t.TempDir(), "x.car"))
	defer dst.Close()
	if _, err := Copy(t.Context(), carOf(t, cbor), cbor.CID, dst, CopyOptions{}); err == nil || !strings.Contains(err.Error(), "codec 0x71") {
		t.Errorf("dag-cbor: %v", err)
	}
}

func dagBlock(codec uint64, data []byte) unixfs.Block {
	c, err := cid.Prefix{Version: 1, Codec: codec, MhType: multihash.SHA2_256, MhLength: -1}.Sum(data)
	if err != nil {
		panic(err)
	}
	return unixfs.Block{CID: c, Data: data}
}

type dagLink struct {
	name string
	to   unixfs.Block
}

// dagPB encodes a dag-pb node, all of whose parts are short.
func dagPB(data string, links ...dagLink) []byte {
	field := func(tag byte, value string) string { return string([]byte{tag, byte(len(value))}) + value }
	var node string
	for _, l := range links {
		node += field(0x12, field(0x0a, l.to.CID.KeyString())+field(0x12, l.name)+"\x18\x05")
	}
	return []byte(node + field(0x0a, data))
}

// carOf writes a CAR file of the blocks, whose root is the first.
func carOf(t *testing.T, blocks ...unixfs.Block) origin.Origin {
	t.Helper()
	var b bytes.Buffer
	w, err := car.NewWriter(&b, blocks[0].CID)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks {
		if err := w.Put(block); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "some.car")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return teststore.FromCAR(t, path)
}
