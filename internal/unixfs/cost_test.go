package unixfs

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	dag "github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// Bounds on the cost of reading any DAG of n bytes of blocks.
const (
	mostAllocated = 64 << 20 // bytes, beside a multiple of n
	allocatedEach = 24       // bytes for each of the n bytes
	mostVisits    = (freeCost + 2*mostRead) / inlineCost

	mostRead = 4 << 20 // bytes of a file that is read whole
)

// A forge makes DAGs of blocks that link to one another again and again.
type forge struct {
	t      testing.TB
	blocks blockMap
	made   []forged
	bytes  int // of all blocks
}

// A forged is a block and the number of a file's bytes below it.
type forged struct {
	cid   cid.Cid
	bytes uint64
}

func newForge(t testing.TB) *forge { return &forge{t: t, blocks: blockMap{}} }

func (f *forge) last() forged {
	if len(f.made) == 0 {
		f.leaf(1)
	}
	return f.made[len(f.made)-1]
}

func (f *forge) put(b Block, bytes uint64) {
	if len(b.Data) > MaxBlock {
		return
	}
	if _, known := f.blocks[string(b.CID.Hash())]; !known {
		f.bytes += len(b.Data)
		check(f.t, f.blocks.put(b))
	}
	f.made = append(f.made, forged{b.CID, bytes})
}

func (f *forge) leaf(n int) {
	data := random(n)
	f.put(Block{layOutOne(string(data)), data}, uint64(n))
}

// inline makes a leaf within its CID. It counts as much as in a link.
func (f *forge) inline(n int) {
	hash, err := mh.Sum(random(n), mh.IDENTITY, -1)
	check(f.t, err)
	f.made = append(f.made, forged{cid.NewCidV1(cid.Raw, hash), uint64(n)})
}

// foreign makes a link to a block of another codec.
func (f *forge) foreign() {
	f.made = append(f.made, forged{cid.NewCidV1(cid.DagCBOR, f.last().cid.Hash()), 1})
}

// file makes a node with many links to one block.
func (f *forge) file(links int, child forged) {
	var sizes []uint64
	nd := new(dag.ProtoNode)
	fsn := ft.NewFSNode(ft.TFile)
	for range min(links, MaxBlock/(16+child.cid.ByteLen())) {
		sizes = append(sizes, child.bytes)
		check(f.t, nd.AddRawLink("", &ipld.Link{Cid: child.cid, Size: 1 << 30}))
		fsn.AddBlockSize(child.bytes)
	}
	data, err := fsn.GetBytes()
	check(f.t, err)
	nd.SetData(data)
	f.put(Block{nd.Cid(), nd.RawData()}, uint64(len(sizes))*child.bytes)
}

// directory makes a directory with many names of one block.
func (f *forge) directory(links, nameLen int, child forged) {
	nd := dag.NodeWithData(ft.FolderPBData())
	for i := range min(links, MaxBlock/(24+nameLen+child.cid.ByteLen())) {
		name := fmt.Sprintf("%0*d", max(nameLen, 1), i)
		check(f.t, nd.AddRawLink(name, &ipld.Link{Cid: child.cid}))
	}
	f.put(Block{nd.Cid(), nd.RawData()}, 1)
}

// shard makes a node of a sharded directory whose links lead to one block.
func (f *forge) shard(links int, name string, child forged) {
	links = min(links, 256)
	var all []*ipld.Link
	for i := range links {
		all = append(all, &ipld.Link{Name: fmt.Sprintf("%02X%s", i, name), Cid: child.cid})
	}
	data, err := ft.HAMTShardData(full(links), 256, mh.MURMUR3X64_64)
	check(f.t, err)
	nd := dag.NodeWithData(data)
	for _, l := range all {
		check(f.t, nd.AddRawLink(l.Name, l))
	}
	f.put(Block{nd.Cid(), nd.RawData()}, 1)
}

// checkCost reads the last block in all ways, and fails if one of them costs too much.
func (f *forge) checkCost(what string) {
	f.t.Helper()
	root := f.last()
	ctx := context.Background()
	visits := 0
	get := func(ctx context.Context, c cid.Cid) ([]byte, error) {
		visits++
		if data, ok := Inline(c); ok {
			return data, nil
		}
		return f.blocks.get(ctx, c)
	}
	discard := func([]byte) error { return nil }
	for name, read := range map[string]func() error{
		"List":      func() error { _, err := List(ctx, get, root.cid); return err },
		"Walk":      func() error { _, err := Walk(ctx, get, root.cid, strings.Repeat("0/", 64)); return err },
		"ReadTable": func() error { _, err := ReadTable(ctx, get, root.cid, 1<<18, nil); return err },
		"ReadAll":   func() error { _, err := ReadAll(ctx, get, root.cid, mostRead); return err },
		"one byte":  func() error { return Stream(ctx, get, root.cid, int64(root.bytes/2), int64(root.bytes/2)+1, discard) },
	} {
		visits = 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := read()
		runtime.ReadMemStats(&after)
		allocated := int(after.TotalAlloc - before.TotalAlloc)
		if allocated > mostAllocated+allocatedEach*f.bytes || visits > mostVisits {
			f.t.Errorf("%s: %s of %d bytes of blocks allocates %d KiB and visits %d blocks: %v", what, name, f.bytes, allocated>>10, visits, err)
		}
	}
}

func TestHostileDAGsCostLittle(t *testing.T) {
	for what, build := range map[string]func(f *forge){
		"leaves of one byte": func(f *forge) {
			f.file(1<<16, f.last())
			f.file(64, f.last())
		},
		"inline leaves of one byte": func(f *forge) {
			f.inline(1)
			f.file(1<<16, f.last())
			f.file(64, f.last())
		},
		"empty leaves": func(f *forge) {
			f.leaf(0)
			for range 4 {
				f.file(1<<15, f.last())
			}
		},
		"inline empty leaves": func(f *forge) {
			f.inline(0)
			for range 4 {
				f.file(1<<16, f.last())
			}
		},
		"a deep chain": func(f *forge) {
			for range 5000 {
				f.file(1, f.last())
			}
		},
		"a file within a file": func(f *forge) {
			for range 14 {
				f.file(8, f.last())
			}
		},
		"large nodes above one another": func(f *forge) {
			for range 12 {
				f.file(1<<15, f.last())
			}
		},
		"a file of directories": func(f *forge) {
			f.directory(1<<15, 1, f.last())
			f.file(1<<15, f.last())
		},
		"a file of dag-cbor": func(f *forge) {
			f.foreign()
			f.file(1<<15, f.last())
		},
		"a directory of long names": func(f *forge) {
			f.directory(9, 200_000, f.last())
		},
		"a wide directory": func(f *forge) {
			f.inline(0)
			f.directory(1<<16, 1, f.last())
		},
		"directories within directories": func(f *forge) {
			for range 64 {
				f.directory(1<<13, 1, f.last())
			}
		},
		"shards of one shard": func(f *forge) {
			f.shard(0, "", f.last())
			for range 8 {
				f.shard(256, "", f.last())
			}
		},
		"shards of a file": func(f *forge) {
			f.shard(256, "", f.last())
		},
		"a shard of one name": func(f *forge) {
			f.shard(256, "the same", f.last())
			f.shard(256, "", f.last())
		},
		"a shard of large directories": func(f *forge) {
			f.directory(1<<15, 1, f.last())
			f.shard(256, "", f.last())
		},
		"a raw directory": func(f *forge) {
			f.directory(9, 9, f.last())
			f.made = append(f.made, forged{cid.NewCidV1(cid.Raw, f.last().cid.Hash()), 1})
		},
	} {
		f := newForge(t)
		build(f)
		f.checkCost(what)
	}
}

// FuzzCost builds a DAG from its input, three bytes for each block, and holds reading it
// to the costs above.
func FuzzCost(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 255, 0, 1, 255, 1})
	f.Add([]byte{4, 0, 0, 1, 255, 0, 1, 255, 0, 1, 255, 0})
	f.Add([]byte{2, 255, 3, 3, 255, 0, 3, 255, 0, 3, 255, 0})
	f.Add([]byte{3, 0, 0, 3, 255, 0, 3, 255, 0, 1, 9, 0, 5, 0, 0, 2, 9, 9})
	f.Fuzz(func(t *testing.T, program []byte) {
		forge := newForge(t)
		for ; len(program) >= 3 && len(forge.made) < 64 && forge.bytes < 4<<20; program = program[3:] {
			op, n, which := program[0], int(program[1]), int(program[2])
			child := forge.last()
			if back := which / 8; back < len(forge.made) {
				child = forge.made[len(forge.made)-1-back]
			}
			if child.bytes > maxFileSize>>20 {
				child.bytes = 1 // a false size, but one that can be stated
			}
			switch op % 6 {
			case 0:
				forge.leaf(n * (1 + which))
			case 1:
				forge.file(n*(1+which%8), child)
			case 2:
				forge.directory(n*8, which, child)
			case 3:
				forge.shard(n, strings.Repeat("x", which%3), child)
			case 4:
				forge.inline(n % 64)
			case 5:
				forge.foreign()
			}
		}
		forge.checkCost("the DAG")
	})
}
