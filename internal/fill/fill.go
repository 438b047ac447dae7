// Package fill gets blobs from gateways into a store's cache, and to those who
// ask for them on the way.
//
// A blob is filled once in a process, however many ask for it and whatever parts
// of it they ask for. Its bytes go, leaf by verified leaf, into a file that
// everybody reads while it grows. What the store has of the leaves, in whatever
// blob, is copied from there, and only the rest is fetched. A fill outlives those
// who ask; where nobody does any more, it ends after a while.
// There are only so many at once, and fewer that nobody wants; what is more goes past
// the cache.
//
// What is complete is held against the digest by which it was asked for. Leaves
// were verified, so if it has another digest, its publisher lied: it is not kept,
// and whoever reads the whole does not get the end of it.
//
// A cache is worth no error. Where it cannot be written, or the blob is none for
// it, everybody gets what is left of it straight from the gateways.
package fill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// Grace is how long a fill goes on that nobody wants any more.
const Grace = 30 * time.Second

// Patience is how long it is waited for another process that has a blob under way,
// and brings nothing.
const Patience = 5 * time.Second

// ErrDigest says that a blob does not have the digest that it goes by.
var ErrDigest = errors.New("the blob does not have the digest that it is published under")

// A Blob is what is asked for: the file at a path below a root, which is to have
// a digest.
type Blob struct {
	ipfspath.Place
	Digest digest.Digest
}

func (b Blob) key() string { return b.Root.KeyString() + "/" + b.Path }

// A Config says how a Filler fills. Its zero value has the defaults.
type Config struct {
	// Grace is how long a fill goes on that nobody reads any more. Default: Grace.
	Grace time.Duration

	// Patience is how long a reader waits for another process's fill that makes no
	// progress. Default: Patience.
	Patience time.Duration

	// Ended is called when a fill that wrote a file is over, from several goroutines
	// at once. It may be nil.
	Ended func(Outcome)
}

// A Filler fills one cache. Its methods may be called concurrently.
type Filler struct {
	config Config
	cache  *store.Cache
	leaves *store.LeafIndex

	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	places map[string]*fill        // under way, by what was asked for
	files  map[string]*fill        // the same, by CID, once that is known
	slots  chan struct{}           // for what is fetched before anybody asks
	ahead  int                     // fills that began before anybody asked
	fills  int                     // under way
	idle   atomic.Int64            // fills that nobody wants any more
	lies   *lru.Cache[string, lie] // by CID
}

// A lie is a file that is published under another digest than it has.
type lie struct {
	digest digest.Digest // that it has
	until  time.Time     // when it is looked at again
}

// A falseDigest is ErrDigest, and what a blob has.
type falseDigest struct{ has digest.Digest }

func (e falseDigest) Error() string { return fmt.Sprintf("%v: it has %s", ErrDigest, e.has) }
func (e falseDigest) Unwrap() error { return ErrDigest }

const (
	maxLies = 4096 // that are remembered
	lieTime = 10 * time.Minute
)

// New returns a filler of a cache. Close must be called in the end.
func New(cache *store.Cache, config Config) *Filler {
	config.Grace = cmp.Or(config.Grace, Grace)
	config.Patience = cmp.Or(config.Patience, Patience)
	f := &Filler{
		config: config,
		cache:  cache,
		leaves: cache.Store().NewLeafIndex(),
		places: map[string]*fill{},
		files:  map[string]*fill{},
	}
	f.lies, _ = lru.New[string, lie](maxLies) // whose size is positive
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.all.Go(func() { cache.Run(f.ctx) })
	f.all.Go(f.learn)
	return f
}

// learnAgain is how often the index of leaves looks for blobs that others added.
const learnAgain = 10 * time.Second

func (f *Filler) learn() {
	for {
		_ = f.leaves.Learn(f.ctx) // which fails when ctx is done
		select {
		case <-f.ctx.Done():
			return
		case <-time.After(learnAgain):
		}
	}
}

// SetPrefetch changes how many blobs are prefetched at once: none, unless this was
// called.
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
	f.cancel() // nothing begins from here on
	f.mu.Unlock()
	f.all.Wait()
	return nil
}

// Copy writes a blob to sink, or a part of it if part is not nil, as
// trustless.Session.Copy does. A sink that is an io.ReaderFrom is given files.
func (f *Filler) Copy(ctx context.Context, s trustless.Session, b Blob, part *gateway.Range, sink trustless.Sink) error {
	r := &reader{filler: f, session: s, blob: b, part: part, sink: sink}
	err := f.copy(ctx, r)
	if _, ok := errors.AsType[passedBy](err); ok {
		return r.straight(ctx)
	}
	if lie, ok := errors.AsType[falseDigest](err); ok && lie.has == b.Digest {
		return r.straight(ctx) // it was another who was lied to, about the same file
	}
	return err
}

func (f *Filler) copy(ctx context.Context, r *reader) error {
	if !f.canHave(r.blob) {
		return passedBy{store.ErrOff}
	}
	fl, err := f.join(r.session, r.blob, r.fromStart())
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

// canHave reports whether the cache takes blobs, and such as this one. It knows
// no other digests than sha256.
func (f *Filler) canHave(b Blob) bool {
	return b.Digest.Algorithm() == digest.SHA256 && f.ctx.Err() == nil && f.cache.IsOn()
}

// join returns the fill of a blob for one more reader, who must leave it in the
// end. If it begins now, nothing of the blob is known, and the reader wants it
// from the first byte on, then the blob is asked for at once.
func (f *Filler) join(s trustless.Session, b Blob, fromStart bool) (*fill, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.places[b.key()]
	if fl == nil || !fl.lives() {
		if f.isFull() {
			return nil, passedBy{errFull}
		}
		fl = newFill(f, s, b)
		fl.parts = !fromStart
		f.begin(fl, fromStart)
	}
	fl.enter(!fromStart)
	return fl, nil
}

// maxFills is how many fills there are at once.
const maxFills = 512

var errFull = errors.New("there are too many fills")

// isFull reports whether nothing more may begin. It is called with mu held.
func (f *Filler) isFull() bool { return f.fills >= maxFills || f.ctx.Err() != nil }

// begin is called with mu held.
func (f *Filler) begin(fl *fill, fromStart bool) {
	f.fills++
	f.places[fl.blob.key()] = fl
	f.all.Go(func() { fl.run(fromStart) })
}

// maxIdle is how many fills go on that nobody wants any more.
const maxIdle = 64

// maxAhead is how many fills there are that began before anybody asked.
const maxAhead = maxFills / 4

// Prefetch begins to fill a blob that somebody is about to ask for.
func (f *Filler) Prefetch(s trustless.Session, b Blob) {
	if !f.canHave(b) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if cap(f.slots) == 0 || f.ahead == maxAhead || f.isFull() || f.places[b.key()] != nil {
		return
	}
	f.ahead++
	fl := newFill(f, s, b)
	fl.slots = f.slots
	f.begin(fl, false)
}

// Drop ends the fills of what is below a root, and waits until they are over. Whoever
// reads goes on without them.
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

// settle makes a fill, whose file is known now, the one of that file, and returns
// nil; or returns the one that is already, where whoever asks at this place is
// sent from now on.
func (f *Filler) settle(fl *fill, file cid.Cid) *fill {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.files[file.KeyString()]; other != nil && other.lives() {
		f.places[fl.blob.key()] = other
		other.also = append(other.also, fl.blob.key())
		other.enter(false) // for fl, until it ends
		return other
	}
	f.files[file.KeyString()] = fl
	fl.also = append(fl.also, fl.blob.key())
	return nil
}

// forget has the next one who asks begin anew.
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
