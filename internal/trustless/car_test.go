package trustless

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

func TestSiblingsMayComeInAnyOrder(t *testing.T) {
	pub := publish(t, unixfs.V1)
	blocks := carOf(t, pub, "app/manifests")
	if len(blocks) < 100 {
		t.Fatalf("a directory of %d blocks", len(blocks))
	}
	root := blocks[2] // of the sharded directory
	shards, _, err := unixfs.Children(root)
	if err != nil {
		t.Fatal(err)
	}
	isShard := func(b unixfs.Block) bool {
		return slices.ContainsFunc(shards, func(n unixfs.Node) bool { return n.CID.Equals(b.CID) })
	}
	slices.Reverse(blocks[3:])
	slices.SortStableFunc(blocks[3:], func(a, b unixfs.Block) int { // breadth first, and backwards
		return cmp.Compare(btoi(!isShard(a)), btoi(!isShard(b)))
	})
	s := session(pub)
	s.early = budget.New(64 << 20)
	r := s.blocksOf(bytes.NewReader(encode(t, blocks)), 1<<30)
	entries, err := unixfs.ReadDir(t.Context(), r.get, pub.root, "app/manifests")
	if err != nil || len(entries) != 3001 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if r.close(); s.early.Held() != 0 {
		t.Errorf("%d bytes of early blocks are kept in the end", s.early.Held())
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// carOf returns the blocks of a directory, those that lead to it first.
func carOf(t *testing.T, pub *published, at string) (blocks []unixfs.Block) {
	t.Helper()
	var file bytes.Buffer
	w, err := car.NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = unixfs.ReadDir(t.Context(), func(_ context.Context, c cid.Cid) ([]byte, error) {
		data := pub.blocks[string(c.Hash())]
		return data, w.Put(unixfs.Block{CID: c, Data: data})
	}, pub.root, at)
	if err != nil {
		t.Fatal(err)
	}
	r, err := car.NewReader(&file)
	for err == nil {
		var b unixfs.Block
		if b.CID, _, err = r.Next(); err == nil {
			b.Data, err = r.Block()
			blocks = append(blocks, b)
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return blocks
}

func encode(t *testing.T, blocks []unixfs.Block) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := car.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks {
		if err := w.Put(block); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// Blocks outside of the requested DAG are not kept, and all requests share one bound.
func TestEarlyBlocksAreBounded(t *testing.T) {
	const requests, limit = 6, 24 << 20
	table := unixfs.V1.NewTable()
	content := make([][]byte, 20)
	for i := range content {
		content[i] = random(1 << 20)
		content[i][0] = byte(i)
		table.Add(content[i])
	}
	f, err := unixfs.V1.Layout(table)
	if err != nil {
		t.Fatal(err)
	}
	foreign := publishOf(t, unixfs.V1, 1000, 1)
	for name, first := range map[string]unixfs.Block{
		"unrelated": {CID: foreign.root, Data: foreign.blocks[string(foreign.root.Hash())]},
		"children":  f.Nodes[0],
	} {
		blocks := []unixfs.Block{first}
		for i, data := range content {
			blocks = append(blocks, table.Block(i, data))
		}
		file := encode(t, blocks)
		s := session(foreign)
		s.early = budget.New(limit)
		var most int64
		var group sync.WaitGroup
		var mu sync.Mutex
		for range requests {
			group.Go(func() {
				body := bytes.NewReader(file)
				r := s.blocksOf(body, 100<<20)
				defer r.close()
				_, err := r.get(t.Context(), first.CID)
				if err == nil { // a block that the CAR does not have
					_, err = r.get(t.Context(), foreign.file.CID)
				}
				mu.Lock()
				defer mu.Unlock()
				most = max(most, s.early.Held())
				if !isUnavailable(err) {
					t.Errorf("%s: %v", name, err)
				}
				if read := len(file) - body.Len(); name == "unrelated" && read > 2*maxUnlinked {
					t.Errorf("%s: %d bytes were read", name, read)
				}
			})
		}
		group.Wait()
		if most > limit || name == "unrelated" && most > 0 || name == "children" && most == 0 {
			t.Errorf("%s: %d bytes are kept", name, most)
		}
		if n := s.early.Held(); n != 0 {
			t.Errorf("%s: %d bytes are kept in the end", name, n)
		}
	}
}
