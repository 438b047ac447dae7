package unixfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"testing"
	"time"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

func TestFilesOfLayoutAreRead(t *testing.T) {
	for _, p := range []Profile{V0, V1} {
		width := p.params.FileDAGWidth
		for _, leaves := range []int{0, 1, 2, width, width + 1, width*2 + 3} {
			blocks := blockMap{}
			want := layOut(t, p, leaves, blocks)
			got, err := ReadFile(context.Background(), blocks.get, want.CID)
			if err != nil {
				t.Errorf("%s, %d leaves: %v", p, leaves, err)
				continue
			}
			if !reflect.DeepEqual(got.Node, want.Node) || !reflect.DeepEqual(got.Table.Leaves, want.Table.Leaves) || !reflect.DeepEqual(got.Nodes, want.Nodes) {
				t.Errorf("%s, %d leaves: read %v of %d nodes and %d leaves, want %v of %d and %d", p, leaves,
					got.Node, len(got.Nodes), len(got.Table.Leaves), want.Node, len(want.Nodes), len(want.Table.Leaves))
			}
		}
	}
}

// layOut builds a file of small leaves. It puts the nodes, and the leaf of a file of one
// leaf.
func layOut(t *testing.T, p Profile, leaves int, blocks blockMap) *File {
	t.Helper()
	table := p.NewTable()
	for i := range leaves {
		table.Add(fmt.Appendf(nil, "leaf %d", i))
	}
	f, err := p.Layout(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, nd := range f.Nodes {
		check(t, blocks.put(nd))
	}
	switch leaves {
	case 0:
		check(t, blocks.put(table.Block(0, nil)))
	case 1:
		check(t, blocks.put(table.Block(0, []byte("leaf 0"))))
	}
	return f
}

// A node that occurs many times is read once, and its leaves are in the table as often
// as it occurs.
func TestRepeatedNodesAreReadOnce(t *testing.T) {
	blocks := blockMap{}
	part, other := layOut(t, V1, 1100, blocks), layOut(t, V1, 50, blocks)
	tree := func(f *File, more int64) subtree { return subtree{f.Node, uint64(f.Table.Size() + more)} }
	block, top, err := V1.join([]subtree{tree(part, 0), tree(other, 0), tree(part, 0)})
	check(t, err)
	check(t, blocks.put(block))
	asked := map[cid.Cid]int{}
	got, err := ReadFile(t.Context(), func(ctx context.Context, c cid.Cid) ([]byte, error) {
		asked[c]++
		return blocks.get(ctx, c)
	}, top.CID)
	check(t, err)
	want := new(Table)
	for _, f := range []*File{part, other, part} {
		for i, l := range f.Table.Leaves {
			want.Leaves = append(want.Leaves, Leaf{l.Digest, want.Size() + int64(f.Table.Len(i))})
		}
	}
	if !reflect.DeepEqual(got.Table, want) {
		t.Errorf("%d leaves of %d bytes; want %d of %d", len(got.Table.Leaves), got.Table.Size(), len(want.Leaves), want.Size())
	}
	for c, n := range asked {
		if n > 1 {
			t.Errorf("%s is read %d times", c, n)
		}
	}
	if n := len(part.Nodes) + len(other.Nodes) + 1; len(got.Nodes) != n {
		t.Errorf("%d nodes; want %d", len(got.Nodes), n)
	}
	lie, top, err := V1.join([]subtree{tree(part, 0), tree(part, 1)})
	check(t, err)
	check(t, blocks.put(lie))
	if _, err := ReadFile(t.Context(), blocks.get, top.CID); err == nil {
		t.Error("a node that states another size the second time is accepted")
	}
}

func TestFileWithoutANodeIsNotRead(t *testing.T) {
	blocks := blockMap{}
	f := layOut(t, V1, 3000, blocks)
	delete(blocks, string(f.Nodes[1].CID.Hash()))
	if _, err := ReadFile(context.Background(), blocks.get, f.CID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without one of its nodes: %v", err)
	}
	dir, err := V1.Directory(context.Background(), map[string]Node{"a": f.Node}, blocks.put)
	check(t, err)
	if _, err := ReadFile(context.Background(), blocks.get, dir.CID); err == nil {
		t.Error("a directory is read as a file")
	}
}

func TestListReturnsAllEntries(t *testing.T) {
	for _, p := range []Profile{V0, V1} {
		for _, n := range []int{0, 1, 100, 20_000} { // the last is sharded
			blocks := blockMap{}
			want := map[string]Node{}
			for i := range n {
				want[fmt.Sprintf("entry-%d", i)] = Node{layOut(t, p, 1, blockMap{}).CID, uint64(i)}
			}
			dir, err := p.Directory(context.Background(), want, blocks.put)
			check(t, err)
			got, err := List(context.Background(), blocks.get, dir.CID)
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("%s: %d entries come back as %d, %v", p, n, len(got), err)
			}
		}
		f := layOut(t, p, 1, blockMap{})
		blocks := blockMap{}
		layOut(t, p, 1, blocks)
		if _, err := List(context.Background(), blocks.get, f.CID); !errors.Is(err, ErrNotDirectory) {
			t.Errorf("%s: listing a file: %v", p, err)
		}
	}
}

func TestDirectoryOfTooManyEntriesIsNotListed(t *testing.T) {
	nd := new(dag.ProtoNode)
	nd.SetData(ft.FolderPBData())
	for i := range maxEntries + 1 {
		check(t, nd.AddRawLink(fmt.Sprint(i), &ipld.Link{Cid: layOutOne("")}))
	}
	blocks := blockMap{}
	check(t, blocks.put(Block{nd.Cid(), nd.RawData()}))
	if entries, err := List(context.Background(), blocks.get, nd.Cid()); err == nil || len(entries) > 0 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestMissingShardIsNoProofOfAbsence(t *testing.T) {
	blocks := blockMap{}
	entries := map[string]Node{}
	for i := range 20_000 {
		entries[fmt.Sprint(i)] = Node{layOutOne(""), 0}
	}
	dir, err := V1.Directory(context.Background(), entries, blocks.put)
	check(t, err)
	_, err = Walk(context.Background(), blocks.get, dir.CID, "none")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	failed := fmt.Errorf("the disk says: %w", fs.ErrNotExist)
	_, err = Walk(context.Background(), func(ctx context.Context, c cid.Cid) ([]byte, error) {
		if c.Equals(dir.CID) {
			return blocks.get(ctx, c)
		}
		return nil, failed
	}, dir.CID, "7")
	if !errors.Is(err, failed) {
		t.Error(err)
	}
}

func layOutOne(content string) cid.Cid {
	table := V1.NewTable()
	table.Add([]byte(content))
	return table.CID(0)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTruncatedHashProvesNothing(t *testing.T) {
	short, err := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: mh.SHA2_256, MhLength: 2}.Sum([]byte("leaf"))
	check(t, err)
	if err := (Block{short, []byte("leaf")}).Verify(); err == nil {
		t.Error("a block is verified by two bytes of its hash")
	}
	nd, fsn := new(dag.ProtoNode), ft.NewFSNode(ft.TFile)
	fsn.AddBlockSize(4)
	check(t, nd.AddRawLink("", &ipld.Link{Cid: short, Size: 4}))
	data, err := fsn.GetBytes()
	check(t, err)
	nd.SetData(data)
	blocks := blockMap{}
	check(t, blocks.put(Block{nd.Cid(), nd.RawData()}))
	if _, err := ReadFile(context.Background(), blocks.get, nd.Cid()); !errors.Is(err, ErrShape) {
		t.Errorf("a leaf with such a hash: %v", err)
	}
}

// A leaf with metadata, such as a modification time, has no place in a table.
func TestLeavesOfTypeRawHaveATable(t *testing.T) {
	for _, content := range [][]byte{nil, []byte("x"), random(70_000)} {
		old := node(t, ft.TRaw, content, nil)
		blocks := blockMap{}
		check(t, blocks.put(old))
		root := above(t, blocks, old, uint64(len(content)))
		f, err := ReadFile(context.Background(), blocks.get, root)
		check(t, err)
		data, err := f.Table.Unwrap(0, old.Data)
		if err != nil || !bytes.Equal(data, content) || !f.Table.Verify(0, content) || f.Table.Verify(0, append(content, 'x')) {
			t.Errorf("%d bytes come back as %d, %v", len(content), len(data), err)
		}
		if got := f.Table.Block(0, content); !got.CID.Equals(old.CID) || !bytes.Equal(got.Data, old.Data) {
			t.Errorf("%d bytes: the block is %s", len(content), got.CID)
		}

		dated := node(t, ft.TFile, content, func(n *ft.FSNode) { n.SetModTime(time.Unix(1, 0)) })
		check(t, blocks.put(dated))
		root = above(t, blocks, dated, uint64(len(content)))
		if _, err := ReadFile(context.Background(), blocks.get, root); !errors.Is(err, ErrShape) {
			t.Errorf("%d bytes with a time: %v", len(content), err)
		}
	}
}

func node(t testing.TB, typ unixfsType, content []byte, set func(*ft.FSNode)) Block {
	t.Helper()
	fsn := ft.NewFSNode(typ)
	fsn.SetData(content)
	if set != nil {
		set(fsn)
	}
	data, err := fsn.GetBytes()
	check(t, err)
	nd := dag.NodeWithData(data)
	return Block{nd.Cid(), nd.RawData()}
}

// above returns a file's node above a single block.
func above(t *testing.T, blocks blockMap, below Block, bytes uint64) cid.Cid {
	t.Helper()
	fsn := ft.NewFSNode(ft.TFile)
	fsn.AddBlockSize(bytes)
	data, err := fsn.GetBytes()
	check(t, err)
	nd := dag.NodeWithData(data)
	check(t, nd.AddRawLink("", &ipld.Link{Cid: below.CID, Size: uint64(len(below.Data))}))
	check(t, blocks.put(Block{nd.Cid(), nd.RawData()}))
	return nd.Cid()
}

// A large file is read only while the budget of the process has the memory for it.
func TestReadAllDrawsOnTheBudget(t *testing.T) {
	data := bytes.Repeat([]byte{1}, uncounted+1)
	get := func(context.Context, cid.Cid) ([]byte, error) { return data, nil }
	hash, err := mh.Sum(data, mh.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	leaf := cid.NewCidV1(cid.Raw, hash)
	release, err := budget.Process().Take(t.Context(), budget.Process().Limit()-uncounted)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadAll(ctx, get, leaf, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("without memory: %v", err)
	}
	release()
	if got, err := ReadAll(t.Context(), get, leaf, 1<<20); err != nil || !bytes.Equal(got, data) {
		t.Errorf("with memory: %d bytes, %v", len(got), err)
	}
}
