package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The index knows blobs that were added before and after it was made. For each leaf it
// returns a blob and the right offset.
func TestLeafIndexKnowsWhereLeavesAre(t *testing.T) {
	s := Open(t.TempDir())
	put(t, s, unixfs.V1, long("one"))
	x := s.NewLeafIndex()
	check(t, x.Learn(t.Context()))
	early := x.Len()
	put(t, s, unixfs.V1, long("two"), long("gone"))
	check(t, os.Remove(s.blobPath(digest.FromString(long("gone")))))
	check(t, x.Learn(t.Context()))
	for content, there := range map[string]bool{long("one"): true, long("two"): true, long("gone"): false, long("never"): false} {
		cutter := unixfs.V1.NewCutter()
		cutter.Write([]byte(content))
		table := cutter.Table()
		for i := range table.Leaves {
			d, size, offset, ok := x.Find(table.Leaves[i].Digest)
			at := table.Start(i) // or another offset with the same bytes
			if ok != there || ok && (d != digest.FromString(content) || size != int64(len(content)) ||
				content[offset:][:table.Len(i)] != content[at:][:table.Len(i)]) {
				t.Errorf("leaf %d of %.4q is at %d of %s of %d bytes: %v", i, content, offset, d, size, ok)
			}
		}
	}
	if early == 0 || x.Len() <= early {
		t.Errorf("the index had %d leaves first, and %d later", early, x.Len())
	}
}

// Blobs that were removed or have tiny leaves do not keep other blobs out of a full
// index.
func TestFullLeafIndexLearnsAnew(t *testing.T) {
	s := Open(t.TempDir())
	x := s.NewLeafIndex()
	tiny := &unixfs.Table{Leaves: make([]unixfs.Leaf, 1<<10)}
	for i := range tiny.Leaves {
		tiny.Leaves[i] = unixfs.Leaf{Digest: sha256.Sum256(fmt.Append(nil, i)), End: int64(i + 1)}
	}
	if x.Add(cid.Undef, digest.FromString("tiny"), tiny); x.Len() != 0 {
		t.Errorf("the index has %d leaves of one byte", x.Len())
	}
	gone := &unixfs.Table{Leaves: make([]unixfs.Leaf, 1<<16)}
	for blob := range maxIndexed/len(gone.Leaves) + 1 {
		for i := range gone.Leaves {
			binary.BigEndian.PutUint64(gone.Leaves[i].Digest[:], uint64(blob*len(gone.Leaves)+i))
			gone.Leaves[i].End = int64(i+1) << 16
		}
		x.Add(cid.Undef, digest.FromString(fmt.Sprint(blob)), gone)
	}
	put(t, s, unixfs.V1, long("new"))
	check(t, x.Learn(t.Context()))
	cutter := unixfs.V1.NewCutter()
	cutter.Write([]byte(long("new")))
	for _, leaf := range cutter.Table().Leaves {
		if d, _, _, ok := x.Find(leaf.Digest); !ok || d != digest.FromString(long("new")) {
			t.Errorf("the index has a leaf of the blob in %q", d)
		}
	}
	if x.Len() > 1<<10 {
		t.Errorf("the index has %d leaves of one blob", x.Len())
	}
}

// On a machine of little memory, the index knows fewer leaves.
func TestLeafIndexFollowsTheMemoryOfTheProcess(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(512 << 20))
	x := Open(t.TempDir()).NewLeafIndex()
	if most := (512 << 20) / 8 / indexedLeaf; x.limit > most {
		t.Errorf("with 512 MiB of memory, the index knows %d leaves at most, want %d", x.limit, most)
	}
}

// A leaf takes at most 64 bytes of memory, and the number of leaves is bounded.
func TestLeafIndexIsSmall(t *testing.T) {
	x := Open(t.TempDir()).NewLeafIndex()
	table := &unixfs.Table{Leaves: make([]unixfs.Leaf, 1<<10)}
	before := heap()
	worst := 0.
	for blob := range maxIndexed/len(table.Leaves) + 2 {
		for i := range table.Leaves {
			leaf := &table.Leaves[i]
			binary.BigEndian.PutUint64(leaf.Digest[:], uint64(blob*len(table.Leaves)+i)*0x9e3779b97f4a7c15)
			leaf.End = int64(i+1) << 16
		}
		x.Add(cid.Undef, digest.FromString(fmt.Sprint(blob)), table)
		if blob%64 == 63 {
			worst = max(worst, float64(heap()-before)/float64(x.Len()))
		}
	}
	if x.Len() != maxIndexed || worst > indexedLeaf {
		t.Errorf("%d leaves, of %.1f bytes", x.Len(), worst)
	}
	t.Logf("at most %.1f bytes a leaf", worst)
	runtime.KeepAlive(x)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
