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
// Count what is allocated: a decoded value can take several times the bytes that it
// was decoded from. Buffers of a fixed size for each connection are not counted.
package budget

import (
	"context"
	"errors"
	"fmt"
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

// A state guards a budget and its parts.
type state struct {
	sync.Mutex
	freed chan struct{} // closed, and replaced, when bytes are given back
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget {
	return &Budget{limit: limit, state: &state{freed: make(chan struct{})}}
}

// Process returns the budget of this process. Its limit is DefaultLimit until SetLimit
// is called.
var Process = sync.OnceValue(func() *Budget { return New(DefaultLimit()) })

// SetLimit changes the limit of a budget that is not a part. Bytes that are held
// beyond the new limit stay until they are given back.
func (b *Budget) SetLimit(limit int64) {
	b.state.Lock()
	defer b.state.Unlock()
	b.limit = limit
	b.broadcast()
}

// Limit returns how many bytes may be held at once.
func (b *Budget) Limit() int64 {
	b.state.Lock()
	defer b.state.Unlock()
	return b.limitNow()
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

// TryTake takes n bytes, or reports that there are not as many left. The caller must
// call release when it no longer holds them.
func (b *Budget) TryTake(n int64) (release func(), ok bool) {
	if ok, _ = b.take(n); !ok {
		return nil, false
	}
	return sync.OnceFunc(func() { b.give(n) }), true
}

// Take takes n bytes, for which it waits until others give theirs back, but no longer
// than Wait. The caller must call release when it no longer holds them. The error is
// ErrFull, or the cause of ctx if that ends first.
func (b *Budget) Take(ctx context.Context, n int64) (release func(), err error) {
	if err := b.wait(ctx, n); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { b.give(n) }), nil
}

func (b *Budget) wait(ctx context.Context, n int64) error {
	ok, freed := b.take(n)
	if ok {
		return nil
	}
	if limit := b.Limit(); n > limit {
		return fmt.Errorf("%w: %d bytes, and all have %d", ErrFull, n, limit)
	}
	late := time.NewTimer(Wait)
	defer late.Stop()
	for !ok {
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return ErrFull
		}
		ok, freed = b.take(n)
	}
	return nil
}

// take takes n bytes, or returns a channel that is closed when it is worth trying
// again.
func (b *Budget) take(n int64) (ok bool, freed <-chan struct{}) {
	if b == nil {
		return true, nil
	}
	b.state.Lock()
	defer b.state.Unlock()
	for of := b; of != nil; of = of.parent {
		if of.held+n > of.limitNow() {
			return false, b.state.freed
		}
	}
	for of := b; of != nil; of = of.parent {
		of.held += n
	}
	return true, nil
}

func (b *Budget) give(n int64) {
	if b == nil {
		return
	}
	b.state.Lock()
	defer b.state.Unlock()
	for of := b; of != nil; of = of.parent {
		of.held -= n
	}
	b.broadcast()
}

// limitNow must be called with state held.
func (b *Budget) limitNow() int64 {
	if b.parent != nil {
		return b.parent.limitNow() / b.part
	}
	return b.limit
}

// broadcast wakes all that wait. It must be called with state held.
func (b *Budget) broadcast() {
	close(b.state.freed)
	b.state.freed = make(chan struct{})
}

// A Share is what one request holds of a budget, and grows while the request learns how
// much it needs. It is for one goroutine.
type Share struct {
	budget *Budget
	held   int64 // bytes
}

// Share returns an empty share. Its Close must be called in the end.
func (b *Budget) Share() *Share { return &Share{budget: b} }

// Grow takes n more bytes, as Take does.
func (s *Share) Grow(ctx context.Context, n int64) error {
	err := s.budget.wait(ctx, n)
	if err == nil {
		s.held += n
	}
	return err
}

// Close gives back all that the share holds, which is empty then.
func (s *Share) Close() {
	s.budget.give(s.held)
	s.held = 0
}
