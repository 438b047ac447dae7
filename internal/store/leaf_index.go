package store

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A LeafIndex tells in which blob of a store a leaf is, kept or cached, so that a
// new version of an image need not be fetched but for what changed.
//
// It is derived, from the leaf tables, and in memory alone. It may know too
// little, since it learns in the background, and too much, since blobs go. So what
// it says is to be verified. When it is full, it forgets everything and learns anew
// what is there.
type LeafIndex struct {
	store *Store

	learning sync.Mutex
	seen     map[shelf]map[string]struct{} // names of leaf tables
	changed  map[shelf]time.Time           // when there were new ones last

	mu     sync.RWMutex
	places map[shortDigest]leafPlace
	blobs  []indexedBlob
	isFull bool // something did not fit
}

type indexedBlob struct {
	digest digest.Digest
	size   int64
}

// A leafPlace is the number of a blob, and where in it a leaf begins.
type leafPlace uint64

const (
	offsetBits = 42 // 4 TiB, more than any blob
	maxBlobs   = 1 << 18
)

// maxIndexed is how many leaves an index knows at most: 128 GiB of blobs in leaves
// of 64 KiB, in about 100 MB of memory.
const maxIndexed = 1 << 21

// maxLearned is how many of them are learned from what is there, so that there is
// room for what comes.
const maxLearned = maxIndexed / 4 * 3

// minIndexed is how many bytes a leaf has that is worth it. Otherwise a few files of
// tiny leaves would take all the room.
const minIndexed = 1 << 10

// leafRecord is how many bytes of a table on disk are a leaf.
const leafRecord = 36

// NewLeafIndex returns an index that knows nothing yet.
func (s *Store) NewLeafIndex() *LeafIndex {
	return &LeafIndex{
		store:   s,
		seen:    map[shelf]map[string]struct{}{},
		changed: map[shelf]time.Time{},
		places:  map[shortDigest]leafPlace{},
	}
}

// Len returns the number of leaves that it knows.
func (x *LeafIndex) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.places)
}

// Find returns the blob in which a leaf is, how many bytes that has, and the
// offset at which the leaf begins.
func (x *LeafIndex) Find(leaf [sha256.Size]byte) (d digest.Digest, size, offset int64, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p, ok := x.places[shortDigest(leaf[:])]
	if !ok {
		return "", 0, 0, false
	}
	b := x.blobs[p>>offsetBits]
	return b.digest, b.size, int64(p & (1<<offsetBits - 1)), true
}

// Add makes known a blob and its leaves, in place of any others that have them.
func (x *LeafIndex) Add(d digest.Digest, t *unixfs.Table) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if t.Size() >= 1<<offsetBits {
		return
	}
	if x.isFull = x.isFull || len(x.blobs) == maxBlobs || len(x.places)+len(t.Leaves) > maxIndexed; x.isFull {
		return
	}
	number := leafPlace(len(x.blobs))
	x.blobs = append(x.blobs, indexedBlob{d, t.Size()})
	for i := range t.Leaves {
		if t.Len(i) < minIndexed {
			continue
		}
		x.places[shortDigest(t.Leaves[i].Digest[:])] = number<<offsetBits | leafPlace(t.Start(i))
	}
}

// Learn reads the leaf tables that are new since it was called last, and where
// they are too many, those that were written last. What it cannot read it does
// without.
func (x *LeafIndex) Learn(ctx context.Context) error {
	x.learning.Lock()
	defer x.learning.Unlock()
	x.forgetIfFull()
	for _, sh := range []shelf{x.store.shelf, x.store.cached} {
		if err := x.learn(ctx, sh); err != nil {
			return err
		}
	}
	return nil
}

func (x *LeafIndex) forgetIfFull() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.isFull {
		return
	}
	x.places, x.blobs, x.isFull = map[shortDigest]leafPlace{}, nil, false
	clear(x.seen)
	clear(x.changed)
}

func (x *LeafIndex) learn(ctx context.Context, sh shelf) error {
	dir := filepath.Join(sh.dir, "files")
	info, err := os.Stat(dir)
	if err != nil || info.ModTime().Equal(x.changed[sh]) {
		return nil
	}
	entries, err := readDir(dir)
	if err != nil {
		return nil
	}
	seen := map[string]struct{}{} // without those that are gone
	for _, e := range entries {
		if _, was := x.seen[sh][e.Name()]; was {
			seen[e.Name()] = struct{}{}
		}
	}
	x.seen[sh] = seen
	for _, c := range x.unseen(entries, seen) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d, table, err := sh.file(c)
		if err == nil && (exists(x.store.blobPath(d)) || exists(x.store.cached.blobPath(d))) {
			x.Add(d, table)
		}
		seen[key(c)] = struct{}{}
	}
	x.changed[sh] = info.ModTime()
	return nil
}

// unseen returns the files whose tables were not read yet, and as many as there
// is room for.
func (x *LeafIndex) unseen(entries []fs.DirEntry, seen map[string]struct{}) []cid.Cid {
	type table struct {
		file    cid.Cid
		written time.Time
		leaves  int64
	}
	var tables []table
	for _, e := range entries {
		c, ok := parseKey(e.Name())
		if _, known := seen[e.Name()]; known || !ok {
			continue
		}
		if info, err := e.Info(); err == nil {
			tables = append(tables, table{c, info.ModTime(), info.Size() / leafRecord})
		}
	}
	slices.SortFunc(tables, func(a, b table) int { return b.written.Compare(a.written) })
	var (
		files []cid.Cid
		room  = int64(maxLearned - x.Len())
	)
	for _, t := range tables {
		if room -= t.leaves; room < 0 {
			break
		}
		files = append(files, t.file)
	}
	slices.Reverse(files) // of two blobs with a leaf, the new one will stay for longer
	return files
}
