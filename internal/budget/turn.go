package budget

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// turns has a value for each goroutine that has a turn.
var turns = sync.OnceValue(func() chan struct{} { return make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)) })

// small is how many bytes are decoded without a turn, which takes about a millisecond.
const small = 128 << 10

// Turn waits until the caller may decode n bytes that a stranger made, such as a
// directory of a hundred thousand names. Only half of the processors have turns at the
// same time, so all other requests go on at their speed however many strangers ask for
// such work. The caller must call done afterwards. A caller that has a turn waits for
// nothing else: for no gateway, and for no other turn.
//
// The error is ErrFull after Wait, or the cause of ctx if that ends first.
func Turn(ctx context.Context, n int) (done func(), err error) {
	if n <= small {
		return func() {}, nil
	}
	all := turns()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	late := time.NewTimer(Wait)
	defer late.Stop()
	select {
	case all <- struct{}{}:
		return func() { <-all }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-late.C:
		return nil, ErrFull
	}
}
