// Package fill brings blobs from gateways into a store's cache, and gives them to
// readers on the way.
//
// A blob is filled once in a process, however many readers ask for it and whatever
// parts of it they want. Verified leaves are written to a file that all of these
// readers read while it grows. Leaves that another blob of the store has are copied
// from there; only the rest is fetched. A fill outlives its readers for a limited time
// and a limited number of bytes. The number of fills is limited, and that of fills
// without readers more so. A blob beyond these limits passes by the cache.
//
// A complete blob is checked against the digest in the request. If it has another
// digest, its publisher lied, since the leaves were verified: the blob is not kept, and
// no reader of the whole gets the end of it.
//
// Cache failures never fail a request: if the cache cannot be written, or does not
// take a blob, readers get the rest of it straight from the gateways.
//
// From top to bottom: a Filler knows the fills by place and by file, and sends a reader
// to one of them. A fill runs through its phases. It is a fetch, which requests missing
// leaves by streams. A fetch is an intake, which writes verified bytes to the file. And
// an intake is a growing file: the leaf table, and which leaves are present.
package fill

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A Filler fills one cache. Its methods may be called concurrently.
type Filler struct {
	shared
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	places map[string]*fill // by the place in the request
	files  map[string]*fill // by the CID of the file, once it is known
	slots  chan struct{}    // holds a value for each prefetch that is fetching
	ahead  int              // the number of prefetches
	fills  int              // the number of fills
}

// New returns a filler of a cache. Close must be called in the end.
func New(cache *store.Cache, config Config) *Filler {
	config.Grace = cmp.Or(config.Grace, Grace)
	config.GraceBytes = cmp.Or(config.GraceBytes, GraceBytes)
	config.Patience = cmp.Or(config.Patience, Patience)
	if config.Tables == nil {
		config.Tables = budget.Tables()
	}
	f := &Filler{places: map[string]*fill{}, files: map[string]*fill{}}
	f.config, f.cache, f.index, f.tables = config, cache, cache.Store().NewLeafIndex(), config.Tables
	f.aheadTables = f.tables.Part(4)
	f.lies, _ = lru.New[string, lie](maxLies) // fails only for a size below 1
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.all.Go(func() { cache.Run(f.ctx) })
	f.all.Go(f.learn)
	return f
}

// learnAgain is how often the index of leaves looks for blobs that other processes
// added.
const learnAgain = 10 * time.Second

func (f *Filler) learn() {
	for {
		_ = f.index.Learn(f.ctx) // fails only when ctx is done
		select {
		case <-f.ctx.Done():
			return
		case <-time.After(learnAgain):
		}
	}
}

// SetPrefetch changes how many blobs are prefetched at once. At first, that is none.
func (f *Filler) SetPrefetch(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n != cap(f.slots) {
		f.slots = make(chan struct{}, n)
	}
}

// Close ends all fills.
func (f *Filler) Close() error {
	f.mu.Lock()
	f.cancel() // no fill begins any more
	f.mu.Unlock()
	f.all.Wait()
	return nil
}

// Copy writes a blob to sink, or a part of it if part is not nil, as
// trustless.Session.Copy does. If sink is an io.ReaderFrom, it gets files to read from.
// The error is ErrDigest if the blob has another digest.
func (f *Filler) Copy(ctx context.Context, s trustless.Session, b Blob, part *gateway.Range, sink trustless.Sink) error {
	r := &reader{session: s, blob: b, part: part, sink: sink}
	err := f.copy(ctx, r)
	if _, ok := errors.AsType[passedBy](err); ok {
		return r.straight(ctx)
	}
	if lie, ok := errors.AsType[falseDigest](err); ok && lie.has == b.Digest {
		return r.straight(ctx) // another reader was lied to about the same file
	}
	return err
}

func (f *Filler) copy(ctx context.Context, r *reader) error {
	if !f.canHave(r.blob) {
		return passedBy{store.ErrOff}
	}
	fl, err := f.join(ctx, r.session, r.blob, r.fromStart())
	if err != nil {
		return err
	}
	for fl != nil {
		next, err := r.read(ctx, fl)
		fl.leave()
		if err != nil {
			return err
		}
		fl = next
	}
	return nil
}

// canHave reports whether the cache takes the blob: a cache knows only sha256.
func (f *Filler) canHave(b Blob) bool {
	return b.Digest.Algorithm() == digest.SHA256 && f.ctx.Err() == nil && f.cache.IsOn()
}

// join returns the fill of a blob for one more reader, which must leave it in the end.
// A fill whose first reader begins at byte 0 requests the blob at once.
func (f *Filler) join(ctx context.Context, s trustless.Session, b Blob, fromStart bool) (*fill, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.places[b.key()]
	if fl == nil || !fl.lives() {
		if f.isFull() {
			return nil, passedBy{errFull}
		}
		fl = newFill(budget.ForSameClient(f.ctx, ctx), &f.shared, f, s, b)
		fl.parts = !fromStart
		f.begin(fl, fromStart)
	}
	fl.enter(!fromStart)
	return fl, nil
}

// maxFills is how many fills there may be at once.
const maxFills = 512

var errFull = errors.New("there are too many fills")

// isFull reports whether no other fill may begin. It must be called with mu held.
func (f *Filler) isFull() bool { return f.fills >= maxFills || f.ctx.Err() != nil }

// begin must be called with mu held.
func (f *Filler) begin(fl *fill, fromStart bool) {
	f.fills++
	f.places[fl.blob.key()] = fl
	f.all.Go(func() { fl.run(fromStart) })
}

// maxAhead is how many prefetches there may be.
const maxAhead = maxFills / 4

// Prefetch begins to fill a blob that a reader is expected to ask for, if the cache has
// free room for it. It waits until the size of the blob is known, and returns an error
// if that is not size.
func (f *Filler) Prefetch(ctx context.Context, s trustless.Session, b Blob, size int64) error {
	fl := f.beginAhead(s, b, size)
	if fl == nil {
		return nil
	}
	var failed error
	err := fl.wait(ctx, func() bool {
		if fl.phase == over && fl.table == nil {
			failed = fl.err
		}
		return fl.phase != finding
	})
	return cmp.Or(err, failed)
}

// beginAhead returns the fill of a blob that is prefetched, or nil if it is not.
func (f *Filler) beginAhead(s trustless.Session, b Blob, size int64) *fill {
	if !f.canHave(b) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if cap(f.slots) == 0 || f.ahead == maxAhead || f.isFull() || f.places[b.key()] != nil {
		return nil
	}
	f.ahead++
	fl := newFill(f.ctx, &f.shared, f, s, b)
	fl.slots, fl.declared = f.slots, size
	f.begin(fl, false)
	return fl
}

// Drop ends the fills of blobs below a root, and waits until they have ended. Their
// readers get the rest straight from the gateways.
func (f *Filler) Drop(root cid.Cid) {
	for _, fl := range f.below(root) {
		fl.cancel()
		<-fl.ended
	}
}

func (f *Filler) below(root cid.Cid) []*fill {
	f.mu.Lock()
	defer f.mu.Unlock()
	var fills []*fill
	for key, fl := range f.places {
		if strings.HasPrefix(key, Blob{Place: ipfspath.Place{Root: root}}.key()) {
			fills = append(fills, fl)
		}
	}
	return fills
}

// settle registers a fill under its file, which is known now, and returns nil. If the
// file has another fill already, settle returns that one, and sends the next readers of
// this place to it.
func (f *Filler) settle(fl *fill, file cid.Cid) *fill {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.files[file.KeyString()]; other != nil && other.lives() {
		f.places[fl.blob.key()] = other
		other.also = append(other.also, fl.blob.key())
		other.enter(false) // fl counts as a reader of it until fl has ended
		return other
	}
	f.files[file.KeyString()] = fl
	fl.also = append(fl.also, fl.blob.key())
	return nil
}

// notAhead is called when a prefetch has ended.
func (f *Filler) notAhead() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead--
}

// forget removes a fill, so that the next reader begins another.
func (f *Filler) forget(fl *fill) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fills--
	for _, key := range append(fl.also, fl.blob.key()) {
		if f.places[key] == fl {
			delete(f.places, key)
		}
	}
	if key := fl.file.KeyString(); f.files[key] == fl {
		delete(f.files, key)
	}
}
