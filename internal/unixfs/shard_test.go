package unixfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"testing"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// shardOf builds a node of a sharded directory.
func shardOf(t testing.TB, blocks blockMap, bitfield []byte, links ...*ipld.Link) cid.Cid {
	t.Helper()
	data, err := ft.HAMTShardData(bitfield, 256, mh.MURMUR3X64_64)
	check(t, err)
	nd := dag.NodeWithData(data)
	for _, l := range links {
		check(t, nd.AddRawLink(l.Name, l))
	}
	check(t, blocks.put(Block{nd.Cid(), nd.RawData()}))
	return nd.Cid()
}

// full returns the bitfield of a node whose first n slots have links.
func full(n int) []byte {
	b := make([]byte, 32)
	for i := range n {
		b[31-i/8] |= 1 << (i % 8)
	}
	return b
}

func TestShardedDirectoryIsReadAsBoxoWritesIt(t *testing.T) {
	for _, p := range []Profile{V0, V1} {
		for _, n := range []int{12_000} {
			blocks := blockMap{}
			entries := map[string]Node{}
			for i := range n {
				entries[fmt.Sprintf("entry-%d", i)] = Node{layOutOne(fmt.Sprint(i)), uint64(i)}
			}
			dir, err := p.Directory(t.Context(), entries, blocks.put)
			check(t, err)
			if len(blocks) < 256 {
				t.Fatalf("%s: %d entries are not sharded", p, n)
			}
			got, err := List(t.Context(), blocks.get, dir.CID)
			if err != nil || !maps.Equal(got, entries) {
				t.Errorf("%s: %d entries of %d, %v", p, len(got), n, err)
			}
			for _, name := range []string{"entry-0", "entry-77", fmt.Sprintf("entry-%d", n-1)} {
				if c, err := Walk(t.Context(), blocks.get, dir.CID, name); err != nil || !c.Equals(entries[name].CID) {
					t.Errorf("%s: %s is %s, %v", p, name, c, err)
				}
			}
			for i := range 100 {
				if _, err := Walk(t.Context(), blocks.get, dir.CID, fmt.Sprintf("none-%d", i)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", p, err)
				}
			}
		}
	}
}

// Two blocks of links with the same name took a gigabyte of memory.
func TestHostileShardsCostLittle(t *testing.T) {
	tiny := func(i int) cid.Cid {
		h, err := mh.Sum([]byte{byte(i), byte(i >> 8), byte(i >> 16)}, mh.IDENTITY, -1)
		check(t, err)
		return cid.NewCidV1(cid.Raw, h)
	}
	for name, build := range map[string]func(blocks blockMap) cid.Cid{
		"many links of one name": func(blocks blockMap) cid.Cid {
			links := make([]*ipld.Link, 100_000)
			for i := range links {
				links[i] = &ipld.Link{Name: "00x", Cid: tiny(i)}
			}
			bomb := shardOf(t, blocks, full(256), links...)
			var above []*ipld.Link
			for i := range 15 {
				above = append(above, &ipld.Link{Name: fmt.Sprintf("%02X", i), Cid: bomb})
			}
			return shardOf(t, blocks, full(15), above...)
		},
		"one node in all slots": func(blocks blockMap) cid.Cid {
			c := shardOf(t, blocks, full(0))
			for range 4 {
				var links []*ipld.Link
				for i := range 256 {
					links = append(links, &ipld.Link{Name: fmt.Sprintf("%02X", i), Cid: c})
				}
				c = shardOf(t, blocks, full(256), links...)
			}
			return c
		},
		"entries that no look-up finds": func(blocks blockMap) cid.Cid {
			var links []*ipld.Link
			for i := range 256 {
				links = append(links, &ipld.Link{Name: fmt.Sprintf("%02Xthe same", i), Cid: tiny(i)})
			}
			return shardOf(t, blocks, full(256), links...)
		},
		"a file for a node": func(blocks blockMap) cid.Cid {
			below := shardOf(t, blocks, full(0))
			c := cid.NewCidV1(cid.Raw, below.Hash())
			node, err := blocks.get(t.Context(), below)
			check(t, err)
			check(t, blocks.put(Block{c, node}))
			return shardOf(t, blocks, full(1), &ipld.Link{Name: "00", Cid: c})
		},
		"deeper than a hash": func(blocks blockMap) cid.Cid {
			c := shardOf(t, blocks, full(0))
			for range 20 {
				c = shardOf(t, blocks, full(1), &ipld.Link{Name: "00", Cid: c})
			}
			return c
		},
		"a directory of one block": func(blocks blockMap) cid.Cid {
			nd := dag.NodeWithData(ft.FolderPBData())
			for i := range 140_000 {
				check(t, nd.AddRawLink("x", &ipld.Link{Name: "x", Cid: tiny(i)}))
			}
			check(t, blocks.put(Block{nd.Cid(), nd.RawData()}))
			return nd.Cid()
		},
	} {
		blocks := blockMap{}
		root := build(blocks)
		asked := 0
		get := func(ctx context.Context, c cid.Cid) ([]byte, error) {
			asked++
			return blocks.get(ctx, c)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		entries, err := List(t.Context(), get, root)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: listed with %d entries", name, len(entries))
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 48<<20 {
			t.Errorf("%s: %d MiB were allocated", name, n>>20)
		}
		if asked > maxDirectory/1024+1 {
			t.Errorf("%s: %d blocks were read", name, asked)
		}
		t.Logf("%s: %v, %d blocks, %d KiB", name, err, asked, (after.TotalAlloc-before.TotalAlloc)>>10)
	}
}

func TestFileOfTinyLeavesIsRefused(t *testing.T) {
	small := V1
	table := small.NewTable()
	blocks := blockMap{}
	for range 1 << 18 {
		table.Add([]byte("x"))
	}
	check(t, blocks.put(table.Block(0, []byte("x"))))
	f, err := small.Layout(table)
	check(t, err)
	for _, nd := range f.Nodes {
		check(t, blocks.put(nd))
	}
	asked := 0
	get := func(ctx context.Context, c cid.Cid) ([]byte, error) {
		asked++
		return blocks.get(ctx, c)
	}
	if data, err := ReadAll(t.Context(), get, f.CID, 4<<20); err == nil || asked > 1<<18/32 {
		t.Errorf("%d bytes from %d blocks, %v", len(data), asked, err)
	}
	// Its shape is not just an unusual one, whose leaves would be requested without a
	// table.
	for _, leaves := range []int{1 << 18, 1 << 16} {
		if _, err := ReadTable(t.Context(), get, f.CID, leaves, nil); err == nil || errors.Is(err, ErrShape) {
			t.Errorf("a table of at most %d leaves: %v", leaves, err)
		}
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	blocks := blockMap{}
	table := V1.NewTable()
	for i := range 2000 {
		leaf := random(200 + i%7)
		table.Add(leaf)
		check(t, blocks.put(table.Block(i, leaf)))
	}
	f, err := V1.Layout(table)
	check(t, err)
	for _, nd := range f.Nodes {
		check(t, blocks.put(nd))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("the client left")
	asked := 0
	_, err = ReadAll(ctx, func(_ context.Context, c cid.Cid) ([]byte, error) {
		if asked++; asked == 10 {
			cancel(left)
		}
		return blocks.get(context.Background(), c)
	}, f.CID, 4<<20)
	if !errors.Is(err, left) || asked > 10 {
		t.Errorf("%d blocks were read, %v", asked, err)
	}
	if _, err := Walk(ctx, blocks.get, f.CID, "a"); !errors.Is(err, left) && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestFileWithAnEmptyLeafAtTheEnd(t *testing.T) {
	blocks := blockMap{}
	table := V1.NewTable()
	for i, leaf := range []string{"a leaf", "another", ""} {
		table.Add([]byte(leaf))
		check(t, blocks.put(table.Block(i, []byte(leaf))))
	}
	f, err := V1.Layout(table)
	check(t, err)
	check(t, blocks.put(f.Nodes[0]))
	if _, err := ReadFile(t.Context(), blocks.get, f.CID); !errors.Is(err, ErrShape) {
		t.Errorf("its table: %v", err)
	}
	got, err := ReadAll(t.Context(), blocks.get, f.CID, 100)
	if err != nil || string(got) != "a leafanother" {
		t.Errorf("%q, %v", got, err)
	}
}
