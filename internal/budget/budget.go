// Package budget bounds how much memory strangers can make the process hold, for all
// of their requests together. A bound on each request is not enough: a thousand
// requests that each stay below theirs end the process, too.
//
// There is one budget for the process, Process. Code that holds bytes on behalf of a
// request takes them from it before it allocates them, and gives them back when it
// lets go of them:
//
//	release, err := b.Take(ctx, size)
//	if err != nil {
//		return err // ErrFull becomes 503 with Retry-After
//	}
//	defer release()
//
// Code that learns bit by bit how much it needs, such as a reader of a sharded
// directory, uses a Share. Code that can do without the memory, such as a fill whose
// blob can pass by the cache, calls TryTake, which does not wait.
//
// A Part is for bytes that a client can make the process hold for as long as it likes,
// such as the leaf table of a blob that it reads slowly. The rest of the budget stays free
// for short requests.
//
// Requests that wait are served in turns: first those of the client that holds the least,
// and of one client the oldest. So a client with many requests, or with large ones, delays
// its own requests more than those of other clients. WithClient says whose a request is.
//
// Count what is allocated: a decoded value can take several times the bytes that it
// was decoded from. Buffers of a fixed size for each connection are not counted.
package budget

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrFull says that other requests hold the memory that a request needs, and did not
// give it back while the request waited. The request may succeed when it is sent again.
var ErrFull = errors.New("too many requests need memory at the moment")

// Wait is how long Take and Share.Grow wait for other requests. It is also a good value
// for the Retry-After of an answer to ErrFull.
const Wait = 5 * time.Second

// A Budget is a number of bytes that may be held at once. Its methods may be called
// concurrently. A nil Budget has no limit.
type Budget struct {
	parent *Budget // nil for a whole
	part   int64   // of the parent
	state  *state  // of a whole and its parts

	// Guarded by state.
	limit int64 // of a whole, in bytes
	held  int64 // by this budget and its parts, in bytes
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget { return &Budget{limit: limit, state: newState()} }

// Process returns the budget of this process. Its limit is DefaultLimit until SetLimit
// is called.
var Process = sync.OnceValue(func() *Budget { return New(DefaultLimit()) })

// The parts of Process for what clients can make the process hold for long.
var (
	// Tables is half of Process, for the leaf tables of blobs that are being read.
	Tables = sync.OnceValue(func() *Budget { return Process().Part(2) })

	// Documents is a quarter of Process, for documents that are being sent.
	Documents = sync.OnceValue(func() *Budget { return Process().Part(4) })

	// BlockSets is an eighth of Process, for the sets of blocks that were already sent in
	// CARs.
	BlockSets = sync.OnceValue(func() *Budget { return Process().Part(8) })
)

// SetLimit changes the limit of a budget that is not a part. Bytes that are held
// beyond the new limit stay until they are given back.
func (b *Budget) SetLimit(limit int64) {
	b.state.Lock()
	defer b.state.Unlock()
	b.limit = limit
	b.state.serve()
}

// Limit returns how many bytes may be held at once.
func (b *Budget) Limit() int64 {
	b.state.Lock()
	defer b.state.Unlock()
	return b.limitNow()
}

// limitNow must be called with state held.
func (b *Budget) limitNow() int64 {
	if b.parent != nil {
		return b.parent.limitNow() / b.part
	}
	return b.limit
}

// Part returns a budget whose bytes count for b as well, and which has at most one
// nth of the limit of b.
func (b *Budget) Part(n int64) *Budget {
	if b == nil {
		return nil
	}
	return &Budget{parent: b, part: n, state: b.state}
}

// Held returns how many bytes are taken.
func (b *Budget) Held() int64 {
	if b == nil {
		return 0
	}
	b.state.Lock()
	defer b.state.Unlock()
	return b.held
}

// TryTake takes n bytes, or reports that there are not as many left beside those that
// requests wait for. The caller must call release when it no longer holds them.
func (b *Budget) TryTake(n int64) (release func(), ok bool) {
	if b == nil {
		return func() {}, true
	}
	b.state.Lock()
	defer b.state.Unlock()
	if b.lacking(n) != nil || b.state.isAwaited(b) {
		return nil, false
	}
	b.add(nil, n)
	return sync.OnceFunc(func() { b.give(nil, n) }), true
}

// Take takes n bytes, for which it waits until others give theirs back, but no longer
// than Wait. The caller must call release when it no longer holds them. The error is
// ErrFull, or the cause of ctx if that ends first. It is ErrFull at once if the request
// would hold more than the limit.
func (b *Budget) Take(ctx context.Context, n int64) (release func(), err error) {
	r := requestOf(ctx)
	if err := b.wait(ctx, r, n); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { b.give(r, n) }), nil
}

func (b *Budget) wait(ctx context.Context, r *request, n int64) error {
	if b == nil {
		return nil
	}
	b.state.Lock()
	w, err := b.enter(r, n)
	b.state.Unlock()
	if w == nil {
		return err
	}
	return b.await(ctx, w)
}

// await waits until the bytes are taken or refused.
func (b *Budget) await(ctx context.Context, w *waiter) error {
	defer Away(ctx)() // those who hold the memory may need the turn
	late := time.NewTimer(Wait)
	defer late.Stop()
	recall := time.NewTicker(recallAfter)
	defer recall.Stop()
	for {
		select {
		case <-w.served:
			return w.err
		case <-recall.C:
			b.state.recall(w)
		case <-ctx.Done():
			return b.state.giveUp(w, context.Cause(ctx))
		case <-late.C:
			return b.state.giveUp(w, ErrFull)
		}
	}
}

func (b *Budget) give(r *request, n int64) {
	if b == nil || n == 0 {
		return
	}
	b.state.Lock()
	defer b.state.Unlock()
	b.add(r, -n)
	b.state.serve()
}

// add must be called with state held.
func (b *Budget) add(r *request, n int64) {
	for of := b; of != nil; of = of.parent {
		of.held += n
	}
	b.state.add(r, n)
}

// lacking returns the budget, b or one that it is a part of, that does not have n more
// bytes, or nil. It must be called with state held.
func (b *Budget) lacking(n int64) *Budget {
	for of := b; of != nil; of = of.parent {
		if of.held+n > of.limitNow() {
			return of
		}
	}
	return nil
}

// whole returns the budget that b is a part of, or b itself.
func (b *Budget) whole() *Budget {
	for b.parent != nil {
		b = b.parent
	}
	return b
}

// isPartOf reports whether b is another budget or one of its parts.
func (b *Budget) isPartOf(other *Budget) bool {
	for of := b; of != nil; of = of.parent {
		if of == other {
			return true
		}
	}
	return false
}

// A Share is what one reader holds of a budget on behalf of a request, and grows while
// the reader learns how much it needs. It is for one goroutine.
type Share struct {
	budget  *Budget
	request *request
	held    int64 // bytes
}

// Share returns an empty share for the request that ctx belongs to. Its Close must be
// called in the end.
func (b *Budget) Share(ctx context.Context) *Share {
	return &Share{budget: b, request: requestOf(ctx)}
}

// Grow takes n more bytes, as Take does. While requests that each hold something wait for
// one another, the last of them in the order gets ErrFull at once.
func (s *Share) Grow(ctx context.Context, n int64) error {
	err := s.budget.wait(ctx, s.request, n)
	if err == nil {
		s.held += n
	}
	return err
}

// Close gives back all that the share holds, which is empty then.
func (s *Share) Close() {
	s.budget.give(s.request, s.held)
	s.held = 0
}
