package fill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// find finds out which file is at the blob's place, and begins to fetch or follow it.
// If a reader waits for the first byte and gateways must be asked for the file, find
// requests the blob at the same time.
func (fl *fill) find(fromStart bool) error {
	// A store that has leaves may have the first ones, so the leaf table comes first.
	if fromStart && fl.index.Len() == 0 && !fl.session.IsKnown(fl.ctx, fl.blob.Place) {
		return fl.findByRequest(fl.found)
	}
	file, err := fl.session.Resolve(fl.ctx, fl.blob.Place)
	if err != nil {
		return err
	}
	return fl.found(*file)
}

var (
	errRepeats  = errors.New("nearly all of the blob is repetition")
	errTables   = errors.New("the leaf tables of blobs on their way take too much memory")
	errDeclared = errors.New("a blob that no client has asked for has another size than its manifest says")
	errNoRoom   = errors.New("there is no free room for a blob that no client has asked for")
)

// bytesPerLeaf is about how many bytes of memory a fill takes for each leaf, beside the
// leaf table.
const bytesPerLeaf = 60

// memoryOf returns about how many bytes of memory a fill takes beside the leaf table: for
// the leaves, for the last of them while it is held, and for the proof of the digest.
func memoryOf(t *unixfs.Table) int64 {
	last := len(t.Leaves) - 1
	return int64(len(t.Leaves))*bytesPerLeaf + int64(t.Len(last)) + proofBuffer
}

// found begins the file, whose leaves are known now.
func (fl *fill) found(found trustless.File) error {
	file, table := found.CID, found.Table
	if table == nil || table.Size() == 0 {
		return passedBy{unixfs.ErrShape}
	}
	if l, known := fl.lies.Get(file.KeyString()); known && l.digest != fl.blob.Digest && time.Now().Before(l.until) {
		return falseDigest{l.digest}
	}
	fl.file = file
	if other := fl.list.settle(fl, file); other != nil {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		fl.phase, fl.target = moved, other
		fl.broadcast()
		return nil
	}
	if err := fl.mayKeep(table); err != nil {
		return passedBy{err}
	}
	return fl.enterCache(table)
}

// commitTime is how long a fill waits for another process that is putting the blob in its
// place.
const commitTime = 2 * time.Second

var errCommits = errors.New("another process is putting it in its place")

// enterCache completes the fill with the store's own file, follows another process that
// fetches the blob, or begins to fetch it.
func (fl *fill) enterCache(table *unixfs.Table) error {
	for deadline := time.Now().Add(commitTime); ; {
		if fl.takeStored(table) {
			return nil
		}
		err := fl.fetchOrFollow(table, time.Now().Before(deadline))
		if !errors.Is(err, errCommits) {
			return err
		}
		select {
		case <-time.After(lookAgain):
		case <-fl.ctx.Done():
			return context.Cause(fl.ctx)
		}
	}
}

// fetchOrFollow returns errCommits instead if the caller may wait and the file of another
// process has just gone to its place: its record comes soon.
func (fl *fill) fetchOrFollow(table *unixfs.Table, mayWait bool) error {
	partial, err := fl.cache.BeginBlob(fl.file, table.Size())
	if errors.Is(err, store.ErrBusy) {
		err = fl.beginFollowing(table)
		if errors.Is(err, fs.ErrNotExist) && mayWait {
			return errCommits
		}
		return err
	}
	if err != nil {
		return passedBy{err}
	}
	if mayWait && partial.Resumed() == 0 && fl.isInPlace(table) {
		if err := partial.Close(); err != nil {
			return passedBy{err}
		}
		return errCommits
	}
	fl.beginFetching(partial, table)
	return nil
}

// mayKeep takes the memory for a leaf table from the budget. The error says why a blob
// with these leaves passes by the cache.
func (fl *fill) mayKeep(table *unixfs.Table) error {
	if repeats(table) {
		return errRepeats
	}
	tables := fl.tables
	if !fl.isUsed() {
		tables = fl.aheadTables
		if table.Size() != fl.declared {
			return fmt.Errorf("%w: %d bytes instead of %d", errDeclared, table.Size(), fl.declared)
		}
		release, ok := fl.cache.Reserve(table.Size())
		if !ok {
			return errNoRoom
		}
		fl.mu.Lock()
		fl.unreserve = release
		fl.mu.Unlock()
	}
	release, ok := tables.TryTake(memoryOf(table))
	if !ok {
		return errTables
	}
	releaseTable, ok := fl.session.UseTable(table)
	if !ok {
		release()
		return errTables
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.release = func() { release(); releaseTable() }
	return nil
}

// takeStored completes the fill with the store's own file, if the store has it.
func (fl *fill) takeStored(table *unixfs.Table) bool {
	s := fl.cache.Store()
	f, err := s.OpenFile(fl.file)
	if err != nil {
		return false
	}
	defer f.Close()
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.begin(fetching, table, func() (*os.File, func(), error) {
		file, err := s.OpenBlob(f.Digest, f.Size)
		return file, func() {}, err
	})
	fl.completeAs(f.Digest)
	return true
}

func (fl *fill) beginFetching(partial *store.Partial, table *unixfs.Table) {
	local := findLocal(fl.index, table)
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.partial = partial
	fl.begin(fetching, table, partial.Open)
	resumed, _ := table.Span(partial.Resumed(), table.Size())
	if partial.Resumed() == table.Size() {
		resumed = len(table.Leaves)
	}
	for i := range resumed {
		fl.leaves[i] = nearby
	}
	for _, l := range local {
		fl.leaves[l.leaf] = nearby
	}
	fl.ordered = len(local) == 0 && resumed == 0 && !fl.parts
	if !fl.ordered && resumed+len(local) > 0 {
		fl.streams.Go(func() { fl.copyLocal(fl.cache.Store(), fl.resume(resumed, local)) })
	}
}

func (fl *fill) beginFollowing(table *unixfs.Table) error {
	f, err := fl.cache.Follow(fl.file)
	if err != nil {
		return passedBy{err}
	}
	fl.theirs = f
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.begin(following, table, func() (*os.File, func(), error) {
		f, err := fl.cache.Follow(fl.file)
		return f, func() {}, err
	})
	return nil
}

// A first is the sink of a request for the whole blob that began before the file was
// known.
type first struct {
	*stream // nil if the leaves that come are not needed
	fetch   *fetch
	begin   func(trustless.File) error
	started bool
	found   chan error // gets the error of begin
}

// findByRequest requests the whole blob, and calls begin with its file.
func (f *fetch) findByRequest(begin func(trustless.File) error) error {
	st := &first{fetch: f, begin: begin, found: make(chan error, 1)}
	f.streams.Go(func() {
		err := f.session.CopyWithTable(f.ctx, f.blob.Place, nil, st)
		switch {
		case !st.started && err == nil:
			st.found <- passedBy{errors.New("an answer without a beginning")}
		case !st.started:
			st.found <- err
		case st.stream != nil:
			f.ended(st.stream, err)
		}
	})
	return <-st.found
}

// Start implements trustless.Sink.
func (st *first) Start(file trustless.File, _, _ int64) {
	st.started = true
	f := st.fetch
	err := st.begin(file)
	f.mu.Lock()
	if err == nil && f.phase == fetching && f.leaves[0] == missing && len(f.claims) == 0 {
		st.stream = f.claim(0, f.endOfRun(0, f.table.Size()))
	}
	f.mu.Unlock()
	st.found <- err
}

// Write implements trustless.Sink.
func (st *first) Write(b []byte) (int, error) {
	if st.stream == nil {
		return 0, trustless.ErrEnough
	}
	return st.stream.Write(b)
}

// A blob that is larger than smallBlob bytes may be at most minDistinct times as large
// as its distinct leaves together.
const (
	smallBlob   = 64 << 20
	minDistinct = 16
)

// repeats reports whether nearly all of a blob is repetition. A publisher who pays for
// a few leaves must not make the cache write a large blob.
func repeats(t *unixfs.Table) bool {
	if t.Size() <= smallBlob {
		return false
	}
	distinct := int64(0)
	seen := make(map[[16]byte]struct{}, 1024)
	for i := range t.Leaves {
		short := [16]byte(t.Leaves[i].Digest[:])
		if _, again := seen[short]; again {
			continue
		}
		seen[short] = struct{}{}
		if distinct += int64(t.Len(i)); distinct*minDistinct >= t.Size() {
			return false
		}
	}
	return true
}
