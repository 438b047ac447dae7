package unixfs

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// A specimen is a small DAG for fuzzers to spoil.
type specimen struct {
	root   cid.Cid
	blocks []Block // children first
}

func (s *specimen) put(b Block) error {
	s.blocks = append(s.blocks, b)
	return nil
}

// small is a profile of which a few bytes make many nodes.
func small(p Profile) Profile {
	p.params.ChunkSize = 5
	p.params.FileDAGWidth = 3
	p.params.HAMTShardWidth = 8
	p.params.HAMTShardingSize = 64
	return p
}

func (s *specimen) file(t testing.TB, p Profile, content []byte) *File {
	t.Helper()
	f := build(t, p, content)
	for i := range f.Table.Leaves {
		check(t, s.put(f.Table.Block(i, content[f.Table.Start(i):f.Table.Leaves[i].End])))
	}
	for _, nd := range f.Nodes {
		check(t, s.put(nd))
	}
	s.root = f.CID
	return f
}

// node adds a file's node above children that have the given numbers of its bytes.
func (s *specimen) node(t testing.TB, own []byte, children []Block, bytes ...uint64) Block {
	t.Helper()
	fsn := ft.NewFSNode(ft.TFile)
	fsn.SetData(own)
	nd := new(dag.ProtoNode)
	for i, c := range children {
		fsn.AddBlockSize(bytes[i])
		check(t, nd.AddRawLink("", &ipld.Link{Cid: c.CID, Size: uint64(len(c.Data))}))
	}
	data, err := fsn.GetBytes()
	check(t, err)
	nd.SetData(data)
	b := Block{nd.Cid(), nd.RawData()}
	check(t, s.put(b))
	s.root = b.CID
	return b
}

func (s *specimen) leaf(t testing.TB, typ unixfsType, content string, dated bool) Block {
	t.Helper()
	b := node(t, typ, []byte(content), func(n *ft.FSNode) {
		if dated {
			n.SetModTime(time.Unix(1, 0))
		}
	})
	check(t, s.put(b))
	return b
}

// fileSpecimens returns files of all shapes.
func fileSpecimens(t testing.TB) []*specimen {
	var all []*specimen
	add := func() *specimen {
		all = append(all, new(specimen))
		return all[len(all)-1]
	}
	for _, p := range []Profile{V0, V1} {
		for _, n := range []int{0, 3, 47} {
			add().file(t, small(p), random(n))
		}
	}
	raw := add()
	raw.node(t, nil, []Block{raw.leaf(t, ft.TRaw, "old", false), raw.leaf(t, ft.TRaw, "leaves", false)}, 3, 6)
	dated := add()
	dated.node(t, nil, []Block{dated.leaf(t, ft.TFile, "a", true), dated.leaf(t, ft.TFile, "time", true)}, 1, 4)
	trickle := add()
	one, two := trickle.leaf(t, ft.TRaw, "one", false), trickle.leaf(t, ft.TFile, "two", false)
	below := trickle.node(t, nil, []Block{one, two, one}, 3, 3, 3)
	trickle.node(t, nil, []Block{two, below, below}, 3, 9, 9)
	own := add()
	own.node(t, []byte("its own"), []Block{own.leaf(t, ft.TFile, "and theirs", false)}, 10)
	empty := add()
	nothing := empty.leaf(t, ft.TFile, "", false)
	some := empty.leaf(t, ft.TFile, "x", false)
	level := empty.node(t, nil, []Block{nothing, nothing, nothing}, 0, 0, 0)
	for range 4 {
		level = empty.node(t, nil, []Block{level, level, level}, 0, 0, 0)
	}
	empty.node(t, nil, []Block{some, level, some, nothing}, 1, 0, 1, 0)
	return all
}

// somewhere is a path that exists in every specimen of a directory.
const somewhere = "a/sha256:1/b"

func directorySpecimens(t testing.TB) []*specimen {
	var all []*specimen
	for _, p := range []Profile{V0, V1} {
		for _, p := range []Profile{p, small(p)} { // the latter are sharded
			s := new(specimen)
			node := s.file(t, p, []byte("hello")).Node
			files := map[string]Node{somewhere: node, "a/b": node, "c": node}
			for i := range 9 {
				files[fmt.Sprintf("a/sha256:%d/b", i)] = node
			}
			root, err := p.Tree(context.Background(), files, s.put)
			check(t, err)
			s.root = root.CID
			all = append(all, s)
		}
	}
	return all
}

// seed adds each specimen to the corpus of a fuzz test: as it is, with one block in place
// of another, and with bits flipped in several blocks.
func seed(f *testing.F, all []*specimen) {
	for which, s := range all {
		for at, b := range s.blocks {
			f.Add(uint8(which), false, uint8(at), b.Data, []byte(nil))
			f.Add(uint8(which), true, uint8(at), s.blocks[len(s.blocks)-1].Data, []byte{byte(at), 90, 1, byte(at + 1), 200, 2})
		}
	}
}

// spoil returns the root of a specimen and a getter of its blocks, after it replaced one
// and flipped some bits. If hashed, the CIDs match the blocks, as they do after
// verification; otherwise the links stay as they are, and may lead in circles.
func (s *specimen) spoil(hashed bool, at uint8, replaced, flips []byte) (root cid.Cid, get *countingGetter) {
	blocks := make([]Block, len(s.blocks))
	for i, b := range s.blocks {
		blocks[i] = Block{b.CID, bytes.Clone(b.Data)}
	}
	blocks[int(at)%len(blocks)].Data = bytes.Clone(replaced)
	for flip := range slices.Chunk(flips, 3) {
		if data := blocks[int(flip[0])%len(blocks)].Data; len(flip) == 3 && len(data) > 0 {
			data[int(flip[1])*len(data)/256] ^= flip[2]
		}
	}
	root, get = s.root, &countingGetter{blocks: blockMap{}}
	for i, b := range blocks {
		if hashed {
			is, err := b.CID.Prefix().Sum(b.Data)
			if err != nil {
				panic(err) // sha2-256 is known
			}
			for j := range blocks[i+1:] {
				above := &blocks[i+1+j]
				above.Data = bytes.ReplaceAll(above.Data, b.CID.Hash(), is.Hash())
			}
			b.CID, root = is, is
		}
		get.blocks.put(b)
	}
	return root, get
}

type countingGetter struct {
	blocks blockMap
	asked  []cid.Cid
}

func (g *countingGetter) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	g.asked = append(g.asked, c)
	return g.blocks.get(ctx, c)
}

// In any directory a walk reads few blocks, does not panic, and finds only entries that
// List returns.
func FuzzWalk(f *testing.F) {
	all := directorySpecimens(f)
	seed(f, all)
	f.Fuzz(func(t *testing.T, which uint8, hashed bool, at uint8, replaced, flips []byte) {
		root, g := all[int(which)%len(all)].spoil(hashed, at, replaced, flips)
		trail, err := Trail(t.Context(), g.get, root, somewhere)
		const most = 3 * (1 + 64/3) // shards of 8 take three bits of a hash each
		if len(g.asked) > most {
			t.Fatalf("%d blocks were read", len(g.asked))
		}
		entries, listed := List(t.Context(), g.get, root)
		if len(g.asked) > most+maxDirectory>>10+1 {
			t.Fatalf("%d blocks were read", len(g.asked))
		}
		if err == nil && listed == nil && hashed && len(trail) > 0 && !entries["a"].CID.Equals(trail[0]) {
			t.Fatalf("a walk finds %s, and List %s", trail[0], entries["a"].CID)
		}
		if size, err := FileSize(Block{root, g.blocks[string(root.Hash())]}); err == nil && size < 0 {
			t.Fatalf("a file of %d bytes", size)
		}
	})
}

// An edit of any directory reads few blocks, does not panic, and does what it says.
func FuzzEdit(f *testing.F) {
	all := directorySpecimens(f)
	seed(f, all)
	put := Node{layOutOne("new"), 3}
	f.Fuzz(func(t *testing.T, which uint8, hashed bool, at uint8, replaced, flips []byte) {
		root, g := all[int(which)%len(all)].spoil(hashed, at, replaced, flips)
		for _, p := range []Profile{V0, V1, small(V0), small(V1)} {
			g.asked = nil
			changes := map[string]*Node{somewhere: &put, "a/b": nil, "new": &put, "c": nil}
			edited, err := p.Edit(t.Context(), g.get, root, changes, g.blocks.put)
			if len(g.asked) > 3*(maxDirectory>>10+1) {
				t.Fatalf("%d blocks were read", len(g.asked))
			}
			if err != nil || !hashed {
				continue
			}
			for path, n := range changes {
				c, err := Walk(t.Context(), g.get, edited.CID, path)
				if n != nil && !c.Equals(n.CID) || n == nil && err == nil {
					t.Fatalf("%s is %s, %v", path, c, err)
				}
			}
		}
	})
}

// All ways of reading a file give the same bytes, and read few blocks.
func FuzzFile(f *testing.F) {
	all := fileSpecimens(f)
	seed(f, all)
	f.Fuzz(func(t *testing.T, which uint8, hashed bool, at uint8, replaced, flips []byte) {
		root, g := all[int(which)%len(all)].spoil(hashed, at, replaced, flips)
		const leaves = 64
		table, tabled := ReadTable(t.Context(), g.get, root, leaves, nil)
		if len(g.asked) > maxNodeCost/blockCost+1 {
			t.Fatalf("%d blocks were read", len(g.asked))
		}
		named := innerNodes(root, g.blocks)
		for _, c := range g.asked {
			if !named.Has(c) {
				t.Fatalf("%s was read, which InnerNodes does not name", c)
			}
		}
		size, err := FileSize(Block{root, g.blocks[string(root.Hash())]})
		if tabled == nil && (err != nil || size != table.Size()) {
			t.Fatalf("the file has %d bytes, %v, and its leaves have %d", size, err, table.Size())
		}
		if tabled == nil && len(table.Leaves) > leaves {
			t.Fatalf("%d leaves", len(table.Leaves))
		}
		if err != nil || size > 1<<10 {
			return
		}
		whole, streamed := streamAll(t, g, root, 0, size)
		if streamed != nil {
			return
		}
		for _, part := range [][2]int64{{size / 3, size}, {size / 2, size/2 + 1}, {0, size / 2}} {
			lo, hi := part[0], min(part[1], size)
			if got, err := streamAll(t, g, root, lo, hi); err != nil || !bytes.Equal(got, whole[lo:hi]) {
				t.Fatalf("bytes %d to %d of %d differ, %v", lo, hi, size, err)
			}
		}
		if tabled == nil {
			checkLeaves(t, table, g.blocks, whole, hashed)
		}
	})
}

// innerNodes returns a root and all nodes that InnerNodes names below it.
func innerNodes(root cid.Cid, blocks blockMap) *cid.Set {
	named := cid.NewSet()
	named.Add(root)
	for next := []cid.Cid{root}; len(next) > 0; next = next[1:] {
		below, _ := InnerNodes(Block{next[0], blocks[string(next[0].Hash())]})
		for _, c := range below {
			if named.Visit(c) {
				next = append(next, c)
			}
		}
	}
	return named
}

func streamAll(t *testing.T, g *countingGetter, root cid.Cid, from, to int64) ([]byte, error) {
	t.Helper()
	g.asked = nil
	var all []byte
	err := Stream(t.Context(), g.get, root, from, to, func(b []byte) error {
		all = append(all, b...)
		return nil
	})
	if most := maxFileDepth * (int(to-from) + 1); len(g.asked) > most || int64(len(all)) > to-from {
		t.Fatalf("%d blocks were read, with %d bytes of %d", len(g.asked), len(all), to-from)
	}
	if err == nil && int64(len(all)) != to-from {
		t.Fatalf("%d bytes of %d", len(all), to-from)
	}
	return all, err
}

// checkLeaves checks a table against the streamed content.
func checkLeaves(t *testing.T, table *Table, blocks blockMap, whole []byte, hashed bool) {
	t.Helper()
	for i := range table.Leaves {
		want := whole[table.Start(i):table.Leaves[i].End]
		block, known := blocks[string(table.CID(i).Hash())]
		if !known {
			continue // an empty leaf, which is not read
		}
		got, err := table.Unwrap(i, block)
		if err != nil {
			continue
		}
		if len(want) > 0 && !bytes.Equal(got, want) {
			t.Fatalf("leaf %d is %q, but the stream has %q", i, got, want)
		}
		if hashed && (!table.Verify(i, got) || !bytes.Equal(table.Block(i, got).Data, block)) {
			t.Fatalf("leaf %d does not match its digest", i)
		}
	}
}
