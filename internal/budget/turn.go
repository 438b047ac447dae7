package budget

import (
	"context"
	"runtime"
	"sync"
)

// A stranger can make a request decode for hundreds of milliseconds: a directory of a
// hundred thousand names, say. Go gives all goroutines that compute the same time, so with
// a hundred such requests every other request waits for a hundred others before each of its
// packets. So decoding takes turns: half of the processors have one at a time, and the rest
// is left for requests that only pass bytes on.
//
// A request that has a turn waits for nothing: it gives the turn back while it is Away.
// Otherwise it could wait for one that waits for the turn.

// turns has a unit for each turn. Those who wait are served as those who wait for memory.
var turns = sync.OnceValue(newTurns)

func newTurns() *Budget { return New(int64(max(1, runtime.GOMAXPROCS(0)/2))) }

// small is how many bytes are decoded without a turn. That takes about a millisecond.
const small = 128 << 10

// work is what one request decodes.
type work struct {
	taking chan struct{} // has a value while one of its goroutines waits for the turn of all

	mu     sync.Mutex
	spent  int    // bytes
	away   int    // how many of its goroutines wait for something else
	isOver bool   // after end
	done   func() // gives the turn back; nil without a turn
}

type workKey struct{}

func workOf(ctx context.Context) *work {
	w, _ := ctx.Value(workKey{}).(*work)
	return w
}

// WithTurns returns a context for a request that decodes what strangers made. From the
// first 128 KiB that Spend counts, the request has a turn until end is called, except while
// it is Away. It must not wait for its client before that.
func WithTurns(ctx context.Context) (with context.Context, end func()) {
	if workOf(ctx) != nil {
		return ctx, func() {}
	}
	w := &work{taking: make(chan struct{}, 1)}
	return context.WithValue(ctx, workKey{}, w), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.isOver = true
		w.giveBack()
	}
}

// Spend counts n bytes that are decoded, and waits for a turn if the request needs one by
// now. A context without WithTurns needs none. The error is ErrFull after Wait, or the cause
// of ctx if that ends first.
func Spend(ctx context.Context, n int) error {
	w := workOf(ctx)
	if w == nil || !w.needsTurn(n) {
		return nil
	}
	select {
	case w.taking <- struct{}{}:
		defer func() { <-w.taking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !w.needsTurn(0) {
		return nil
	}
	done, err := takeTurn(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isOver || w.away > 0 { // since it began to wait
		done()
		return nil
	}
	w.done = done
	return nil
}

func (w *work) needsTurn(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spent += n
	return w.spent > small && w.done == nil && !w.isOver && w.away == 0
}

// giveBack must be called with mu held.
func (w *work) giveBack() {
	if w.done != nil {
		w.done()
		w.done = nil
	}
}

// Away gives the turn of a request to others until back is called. The request must be away
// while it waits for anything: a gateway, memory, or another request's look-up.
func Away(ctx context.Context) (back func()) {
	w := workOf(ctx)
	if w == nil {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away++
	w.giveBack()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.away--
	}
}

func (w *work) isAway() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away > 0
}

// Turn waits for a turn to decode n bytes at once, such as in the middle of what a gateway
// sends. The caller must call done afterwards, and waits for nothing before that. If the
// request has a turn already, that is enough. The errors are those of Spend.
func Turn(ctx context.Context, n int) (done func(), err error) {
	if w := workOf(ctx); w != nil && !w.isAway() {
		return func() {}, Spend(ctx, n)
	}
	if n <= small {
		return func() {}, nil
	}
	return takeTurn(ctx)
}

func takeTurn(ctx context.Context) (done func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r := requestOf(ctx)
	r = &request{r.client, r.number} // several goroutines of a request may each have a turn
	if err := turns().wait(ctx, r, 1); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { turns().give(r, 1) }), nil
}
