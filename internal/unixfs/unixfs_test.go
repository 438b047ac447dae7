package unixfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
)

// Every IPFS implementation gives these addresses.
func TestFilesHaveTheirKnownAddresses(t *testing.T) {
	for _, test := range []struct {
		profile       Profile
		content, want string
	}{
		{V0, "", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"},
		{V1, "", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
		{V0, "hello world\n", "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"},
		{V1, "hello world\n", "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"},
	} {
		f := build(t, test.profile, []byte(test.content))
		if f.CID.String() != test.want {
			t.Errorf("%s: %q is %s, want %s", test.profile, test.content, f.CID, test.want)
		}
	}
}

func TestEmptyDirectoryHasItsKnownAddress(t *testing.T) {
	root, err := V0.Directory(context.Background(), nil, func(Block) error { return nil })
	if err != nil || root.CID.String() != "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn" {
		t.Errorf("the empty directory is %s, %v", root.CID, err)
	}
}

func TestCutterDoesNotDependOnWrites(t *testing.T) {
	content := random(3<<20 + 5)
	for _, profile := range []Profile{V0, V1} {
		want := build(t, profile, content).CID
		for _, n := range []int{1000, 1 << 18, 1<<20 + 1} {
			c := profile.NewCutter()
			for b := range slices.Chunk(content, n) {
				c.Write(b)
			}
			f, err := profile.Layout(c.Table())
			if err != nil || f.CID != want {
				t.Errorf("%s, written in pieces of %d: %s, %v; want %s", profile, n, f.CID, err, want)
			}
		}
	}
}

func TestWrappedLeafIsEncodedAsByBoxo(t *testing.T) {
	for _, n := range []int{1, 127, 128, 1 << 14, 1 << 18, MaxLeaf} {
		data := random(n)
		table := &Table{Wrapped: true}
		table.Add(data)
		block := table.Block(0, data)
		content, err := SmallFile(block)
		if err != nil || !bytes.Equal(content, data) {
			t.Fatalf("%d bytes are read back otherwise: %v", n, err)
		}
		nd, err := dag.DecodeProtobuf(block.Data)
		if err != nil || !nd.Cid().Equals(block.CID) || len(block.Data) != table.blockLen(n) {
			t.Errorf("the leaf of %d bytes is %s, want %s, %v", n, block.CID, nd.Cid(), err)
		}
		if sha256.Sum256(block.Data) != table.Leaves[0].Digest {
			t.Errorf("the digest of a leaf of %d bytes is not its block's", n)
		}
	}
}

func TestTableIsReadBackFromDisk(t *testing.T) {
	for _, profile := range []Profile{V0, V1} {
		want := build(t, profile, random(3<<20)).Table
		b, err := want.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		got := new(Table)
		if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the table is read back otherwise: %v", profile, err)
		}
		if size, err := ReadTableSize(bytes.NewReader(b)); err != nil || size != want.Size() {
			t.Errorf("%s: the size is %d, want %d: %v", profile, size, want.Size(), err)
		}
		for _, bad := range [][]byte{nil, b[:len(b)-1], append([]byte{2}, b[1:]...), append(b, bytes.Repeat([]byte{0xff}, leafRecord)...)} {
			if err := got.UnmarshalBinary(bad); err == nil {
				t.Errorf("%s: a malformed table of %d bytes is accepted", profile, len(bad))
			}
			if size, err := ReadTableSize(bytes.NewReader(bad)); err == nil {
				t.Errorf("%s: a malformed table of %d bytes has the size %d", profile, len(bad), size)
			}
		}
	}
}

func TestSpanCoversTheRange(t *testing.T) {
	table := &Table{}
	for _, n := range []int{10, 1, 20} {
		table.Add(random(n))
	}
	for _, test := range []struct {
		from, to int64
		i, j     int
	}{
		{0, 1, 0, 1},
		{0, 10, 0, 1},
		{0, 11, 0, 2},
		{9, 12, 0, 3},
		{10, 11, 1, 2},
		{11, 31, 2, 3},
		{30, 31, 2, 3},
		{0, 31, 0, 3},
		{5, 5, 0, 0},
		{31, 40, 3, 3},
	} {
		if i, j := table.Span(test.from, test.to); i != test.i || j != test.j {
			t.Errorf("Span(%d, %d) = %d, %d; want %d, %d", test.from, test.to, i, j, test.i, test.j)
		}
	}
}

func TestWalkFindsEveryEntryAndNothingElse(t *testing.T) {
	file := build(t, V1, []byte("hello")).Node
	for _, profile := range []Profile{V0, V1} {
		for _, n := range []int{1, 6000} { // 6000 names are sharded
			files := map[string]Node{"a/b/c": file}
			for i := range n {
				files[fmt.Sprintf("many/sha256:%064x", i)] = file
			}
			blocks := blockMap{}
			root, err := profile.Tree(context.Background(), files, blocks.put)
			if err != nil {
				t.Fatal(err)
			}
			for name := range files {
				got, err := Walk(context.Background(), blocks.get, root.CID, name)
				if err != nil || got != file.CID {
					t.Fatalf("%s, %d names: Walk(%q) = %s, %v; want %s", profile, n, name, got, err, file.CID)
				}
			}
			for _, name := range []string{"b", "a/c", "many/sha256:", "a/b/c/d", "many/sha256:" + fmt.Sprintf("%064x", n)} {
				if got, err := Walk(context.Background(), blocks.get, root.CID, name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s, %d names: Walk(%q) = %s, %v; want %v", profile, n, name, got, err, fs.ErrNotExist)
				}
			}
		}
	}
}

func TestTreeRefusesAFileThatIsADirectory(t *testing.T) {
	_, err := V1.Tree(context.Background(), map[string]Node{"a": {}, "a/b": {}}, func(Block) error { return nil })
	if err == nil {
		t.Error("a path that is a file and a directory is accepted")
	}
}

type blockMap map[string][]byte

func (m blockMap) put(b Block) error {
	m[string(b.CID.Hash())] = b.Data
	return nil
}

func (m blockMap) get(_ context.Context, c cid.Cid) ([]byte, error) {
	data, ok := m[string(c.Hash())]
	if !ok {
		return nil, fmt.Errorf("block %s: %w", c, fs.ErrNotExist)
	}
	return data, nil
}

func build(t testing.TB, p Profile, content []byte) *File {
	t.Helper()
	c := p.NewCutter()
	c.Write(content)
	f, err := p.Layout(c.Table())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}
