package fill

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	// maxStreams is how many requests for parts of one blob there may be at once. The
	// last of them is reserved for a reader whose part none of the others brings soon.
	maxStreams = 4

	// maxGap is how many present bytes may be fetched again so that the missing bytes
	// before and after them come in one answer.
	maxGap = 64 << 10
)

// A Blob is the file at a path below a root, and the digest that it should have.
type Blob struct {
	ipfspath.Place
	Digest digest.Digest
}

func (b Blob) key() string { return b.Root.KeyString() + "/" + b.Path }

// A span is the bytes [from, to) of a blob.
type span struct{ from, to int64 }

// A fetch brings the missing leaves of a growing file, from other blobs of the store
// and from gateways. It fetches the leaves first for which readers wait.
type fetch struct {
	intake
	session trustless.Session // of the first reader
	blob    Blob
	streams sync.WaitGroup
	given   atomic.Int64 // bytes that readers got

	// Guarded by mu.
	claims  []*stream
	readers int
	waiting int                // readers that wait for bytes
	sending map[*os.File]int64 // files that readers send, and the offsets at which they began
	wanted  map[any]span       // what readers wait for
	all     bool               // leaves for which no reader waits are fetched, too
	parts   bool               // readers want parts
	failed  error              // of gateways; forgotten when the next reader enters
}

// await waits until the bytes at an offset are present, and returns how far they go.
// The offset is fetched for the reader who. A reader of the whole gets the last leaf
// only after the digest is known. The proof of the digest has no reader: who is nil,
// nothing is fetched for it, and a last leaf that is held counts as present.
func (f *fetch) await(ctx context.Context, who any, from, to int64, whole bool) (end int64, err error) {
	waits := false
	cut := f.wait(ctx, func() bool {
		end = f.available(from, to, whole, who == nil)
		if end > from {
			return true
		}
		if err = f.whyNot(from); err == nil && who != nil {
			if !waits {
				waits = true
				f.beginWaiting()
			}
			f.wanted[who] = span{from, to}
			f.bring(from, to)
		}
		return err != nil
	})
	if waits {
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}
	if cut != nil {
		return from, cut
	}
	return end, err
}

// available must be called with mu held.
func (f *fetch) available(from, to int64, whole, proof bool) int64 {
	if whole && f.phase != complete {
		to = min(to, f.lastLeaf())
	}
	end := f.presentTo(from, to)
	if last := len(f.leaves) - 1; proof && end == f.lastLeaf() && f.leaves[last] == held {
		return to
	}
	return end
}

// whyNot returns the reason why the bytes at an offset will not come, if there is
// one. It must be called with mu held.
func (f *fetch) whyNot(at int64) error {
	if f.phase == over {
		return f.err
	}
	if f.failed != nil && !f.isClaimed(at) {
		return f.failed
	}
	return nil
}

// unwant notes that a reader no longer waits.
func (f *fetch) unwant(who any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.wanted, who)
}

// fetchAll begins to fetch all of the blob.
func (f *fetch) fetchAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.all {
		f.all = true
		f.dispatch()
	}
}

// dispatch starts the streams that are needed. It must be called with mu held.
func (f *fetch) dispatch() {
	if f.phase != fetching || f.ctx.Err() != nil || f.isFarAhead() {
		return
	}
	if f.ordered {
		if f.all || len(f.wanted) > 0 {
			f.continueInOrder()
		}
		return
	}
	for _, part := range f.wanted {
		f.bring(part.from, part.to)
	}
	for i := f.prefix; f.all && i < len(f.leaves) && len(f.claims) < maxStreams-1; i++ {
		if st := f.claimOf(i); st != nil {
			i = st.end - 1
		} else if f.leaves[i] == missing {
			f.start(f.claim(i, f.endOfRun(i, f.table.Size())))
		}
	}
}

// bring makes sure that the leaf at an offset comes soon, unless there are too many
// streams. It requests the bytes up to another offset with it. It must be called with mu
// held.
func (f *fetch) bring(at, to int64) {
	if f.phase != fetching || f.ctx.Err() != nil || len(f.claims) == maxStreams {
		return
	}
	i, _ := f.table.Span(at, at+1)
	if f.leaves[i] != missing {
		return
	}
	if f.ordered {
		f.continueInOrder()
		return
	}
	st := f.claimOf(i)
	switch {
	case st == nil:
		f.start(f.claim(i, f.endOfRun(i, to)))
	case f.table.Start(i)-st.at > far:
		st.end = i
		f.start(f.claim(i, f.endOfRun(i, to)))
	}
}

// continueInOrder starts the one stream of an ordered file if there is none. It must be
// called with mu held.
func (f *fetch) continueInOrder() {
	if i := f.prefix; len(f.claims) == 0 && i < len(f.leaves) && f.leaves[i] == missing {
		f.start(f.claim(i, len(f.leaves)))
	}
}

// claimOf returns the stream that brings a leaf, or nil.
func (f *fetch) claimOf(leaf int) *stream {
	for _, st := range f.claims {
		if st.next <= leaf && leaf < st.end {
			return st
		}
	}
	return nil
}

func (f *fetch) isClaimed(at int64) bool {
	i, _ := f.table.Span(at, at+1)
	return f.leaves[i] == nearby || f.claimOf(i) != nil
}

// endOfRun returns the end of the leaves that one request fetches which begins with leaf
// i. Once readers want parts, it fetches no more than the bytes up to an offset.
func (f *fetch) endOfRun(i int, to int64) int {
	end, most := i, f.table.Size()
	if f.parts {
		most = min(to, f.table.Start(i)+far)
	}
	for gap := int64(0); i < len(f.leaves) && gap <= maxGap && f.table.Start(i) < most && f.claimOf(i) == nil; i++ {
		if f.leaves[i] == missing {
			end, gap = i+1, 0
		} else {
			gap += int64(f.table.Len(i))
		}
	}
	return end
}

func (f *fetch) claim(next, end int) *stream {
	st := &stream{in: &f.intake, next: next, end: end, at: f.table.Start(next)}
	f.claims = append(f.claims, st)
	return st
}

// start requests the leaves that a stream claims.
func (f *fetch) start(st *stream) {
	part := gateway.Range{First: st.at, Last: f.table.Leaves[st.end-1].End - 1}
	f.streams.Go(func() { f.ended(st, f.session.Copy(f.ctx, f.blob.Place, &part, st)) })
}

// resume verifies the first n leaves, which an earlier fill may have left in the file,
// and returns those of the local leaves that it did not find. The others that it did not
// find are fetched.
func (f *fetch) resume(n int, local []localLeaf) []localLeaf {
	elsewhere := map[int]bool{}
	for _, l := range local {
		elsewhere[l.leaf] = true
	}
	buf := make([]byte, unixfs.MaxLeaf)
	for i := 0; i < n && f.ctx.Err() == nil; i++ {
		leaf := buf[:f.table.Len(i)]
		_, err := f.partial.ReadAt(leaf, f.table.Start(i))
		found := err == nil && f.table.Verify(i, leaf)
		if found || !elsewhere[i] {
			f.settleResumed(i, found)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(local, func(l localLeaf) bool { return f.leaves[l.leaf] == present })
}

func (f *fetch) settleResumed(i int, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found {
		f.arrived(i)
	} else {
		f.leaves[i] = missing
		f.dispatch()
	}
	f.broadcast()
}

// copyLocal copies the leaves that other blobs may have. Leaves that these blobs do not
// have after all are fetched.
func (f *fetch) copyLocal(s *store.Store, local []localLeaf) {
	c := &copier{store: s, table: f.table, to: f.partial}
	settle := func(run []localLeaf, n int) {
		f.settleLocal(run, n)
		f.keepPace()
	}
	if err := c.copyAll(f.ctx, local, settle); err != nil {
		f.stop(err)
	}
}

func (f *fetch) settleLocal(run []localLeaf, n int) {
	f.copied.Add(int64(n))
	f.spend(n)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range run {
		switch {
		case f.leaves[l.leaf] == present: // a stream brought it
		case n > 0:
			f.arrived(l.leaf)
		default:
			f.leaves[l.leaf] = missing
		}
	}
	if n == 0 {
		f.dispatch()
	}
	f.broadcast()
}

// ended notes that a stream has ended, and with which error.
func (f *fetch) ended(st *stream, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, claim := range f.claims {
		if claim == st {
			f.claims = append(f.claims[:i], f.claims[i+1:]...)
			break
		}
	}
	switch {
	case f.ctx.Err() != nil:
		return
	case err == nil:
		f.dispatch()
	default:
		f.failed = err
	}
	f.broadcast()
}
