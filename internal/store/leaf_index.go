package store

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A LeafIndex says which kept or cached blob of a store has a leaf. With it, only the
// leaves that changed in a new version of an image are fetched.
//
// The index is built from the leaf tables, and is in memory only. It learns in the
// background, so it may not know a leaf that the store has, and it may name a blob
// that was removed: readers verify the leaves that they find. A full index forgets
// everything and learns again.
type LeafIndex struct {
	store *Store
	limit int // leaves
	least int // bytes of a leaf

	learning  chan struct{}                 // has a value while a Learn runs, which guards the next fields
	began     time.Time                     // when the last complete Learn began
	forgotten time.Time                     // when LearnAgain forgot everything
	seen      map[shelf]map[string]struct{} // names of the leaf tables that were read
	changed   map[shelf]time.Time           // when a leaf table was added last

	mu     sync.RWMutex
	places map[shortDigest]leafPlace
	blobs  []indexedBlob
	isFull bool // a table did not fit
}

type indexedBlob struct {
	file   cid.Cid
	digest digest.Digest
	size   int64
}

// A leafPlace is the number of a blob, and the offset in it at which a leaf begins.
type leafPlace uint64

const (
	offsetBits = 42 // 4 TiB, more than any blob
	maxBlobs   = 1 << 18
)

// maxIndexed is how many leaves an index knows at most: 128 GiB of blobs in leaves of
// 64 KiB. They take about 100 MB of memory.
const maxIndexed = 1 << 21

// indexedLeaf is about how many bytes of memory a leaf takes in an index.
const indexedLeaf = 64

// minIndexed is how many bytes an indexed leaf has at least. Otherwise a few files of
// tiny leaves would fill the index.
const minIndexed = 1 << 10

// leafRecord is how many bytes a leaf takes in a table on disk.
const leafRecord = 36

// settled is the precision with which file systems know when a directory has changed.
const settled = 2 * time.Second

// NewLeafIndex returns an index that knows nothing yet. It takes an eighth of the memory
// that the process may use, or less.
func (s *Store) NewLeafIndex() *LeafIndex {
	return &LeafIndex{
		store:    s,
		limit:    int(min(maxIndexed, budget.Memory()/8/indexedLeaf)),
		least:    minIndexed,
		learning: make(chan struct{}, 1),
		seen:     map[shelf]map[string]struct{}{},
		changed:  map[shelf]time.Time{},
		places:   map[shortDigest]leafPlace{},
	}
}

// Len returns the number of known leaves.
func (x *LeafIndex) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.places)
}

// Find returns the blob that has a leaf, the blob's size in bytes, and the offset at
// which the leaf begins.
func (x *LeafIndex) Find(leaf [sha256.Size]byte) (d digest.Digest, size, offset int64, ok bool) {
	b, offset, ok := x.find(leaf)
	return b.digest, b.size, offset, ok
}

func (x *LeafIndex) find(leaf [sha256.Size]byte) (b indexedBlob, offset int64, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p, ok := x.places[shortDigest(leaf[:])]
	if !ok {
		return indexedBlob{}, 0, false
	}
	return x.blobs[p>>offsetBits], int64(p & (1<<offsetBits - 1)), true
}

// Add adds the leaves of a file that is a blob. It replaces other blobs as the place of
// these leaves.
func (x *LeafIndex) Add(file cid.Cid, d digest.Digest, t *unixfs.Table) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if t.Size() >= 1<<offsetBits {
		return
	}
	if x.isFull = x.isFull || len(x.blobs) == maxBlobs || len(x.places)+len(t.Leaves) > x.limit; x.isFull {
		return
	}
	number := leafPlace(len(x.blobs))
	x.blobs = append(x.blobs, indexedBlob{file, d, t.Size()})
	for i := range t.Leaves {
		if t.Len(i) < x.least {
			continue
		}
		x.places[shortDigest(t.Leaves[i].Digest[:])] = number<<offsetBits | leafPlace(t.Start(i))
	}
}

// Learn reads the leaf tables that were added since the last call, or the newest of
// them if they are too many. It leaves out tables that it cannot read. Callers that wait
// for a call to end share the next one. Its only error is the cause of ctx.
func (x *LeafIndex) Learn(ctx context.Context) error {
	arrived := time.Now()
	end, err := x.beginLearning(ctx)
	if err != nil {
		return err
	}
	defer end()
	if x.began.After(arrived) {
		return nil
	}
	return x.learnAll(ctx)
}

// forgetAgain is how often LearnAgain forgets everything.
const forgetAgain = 30 * time.Second

// LearnAgain forgets everything and learns it again, because the blob that the index
// names for a leaf is gone and another one may have that leaf. Since that reads all leaf
// tables, it reports false, and does nothing, if it did so a short while ago.
func (x *LeafIndex) LearnAgain(ctx context.Context) (did bool, err error) {
	end, err := x.beginLearning(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	if time.Since(x.forgotten) < forgetAgain {
		return false, nil
	}
	x.forgotten = time.Now()
	x.mu.Lock()
	x.isFull = true
	x.mu.Unlock()
	return true, x.learnAll(ctx)
}

// beginLearning waits until no other call learns.
func (x *LeafIndex) beginLearning(ctx context.Context) (end func(), err error) {
	select {
	case x.learning <- struct{}{}:
		return func() { <-x.learning }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// learnAll must be called with learning taken.
func (x *LeafIndex) learnAll(ctx context.Context) error {
	began := time.Now()
	x.forgetIfFull()
	for _, sh := range []shelf{x.store.shelf, x.store.cached} {
		if err := x.learn(ctx, sh); err != nil {
			return err
		}
	}
	x.began = began
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
	dir := filepath.Join(sh.dir, string(files))
	info, err := sh.lstat(dir)
	if err != nil || info.ModTime().Equal(x.changed[sh]) {
		return nil
	}
	entries, err := sh.readDir(dir)
	if err != nil {
		return nil
	}
	seen := map[string]struct{}{} // without tables that are gone
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
		if err == nil && x.store.hasBlob(d) {
			x.Add(c, d, table)
		}
		seen[key(c)] = struct{}{}
	}
	if time.Since(info.ModTime()) > settled { // otherwise another table may have been added since, with the same time
		x.changed[sh] = info.ModTime()
	}
	return nil
}

// unseen returns the files whose tables were not read yet, the newest last. If the
// index has no room for all of them, it leaves out the oldest.
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
		unread []cid.Cid
		room   = int64(x.limit/4*3 - x.Len()) // the rest is for new blobs
	)
	for _, t := range tables {
		if room -= t.leaves; room < 0 {
			break
		}
		unread = append(unread, t.file)
	}
	slices.Reverse(unread) // so that the newer of two blobs with a leaf, which stays longer, is added last
	return unread
}
