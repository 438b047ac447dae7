package budget

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A request that decodes much has one turn, from when it needs it until its end, and none
// while it waits for something else.
func TestRequestHasATurnWhileItDecodes(t *testing.T) {
	taken := func() int64 { return turns().Held() }
	ctx, end := WithTurns(t.Context())
	for _, step := range []struct {
		what  string
		do    func()
		taken int64
	}{
		{"a few bytes", func() { mustSpend(ctx, t, small) }, 0},
		{"more", func() { mustSpend(ctx, t, 1) }, 1},
		{"a turn within", func() { mustTurn(ctx, t, 1<<20)() }, 1},
		{"the same request within", func() {
			within, endWithin := WithTurns(ctx)
			mustSpend(within, t, 1<<20)
			endWithin()
		}, 1},
		{"away twice", func() {
			one, two := Away(ctx), Away(ctx)
			defer two()
			one()
			mustSpend(ctx, t, 1<<20)
			if taken() != 0 {
				t.Error("it has a turn while it is away")
			}
			done := mustTurn(ctx, t, 1<<20)
			if taken() != 1 {
				t.Error("it has no turn for what it decodes at once while it is away")
			}
			done()
		}, 0},
		{"back again", func() { mustSpend(ctx, t, 1) }, 1},
		{"the end", end, 0},
		{"after the end", func() { mustSpend(ctx, t, 1<<20) }, 0},
	} {
		step.do()
		if n := taken(); n != step.taken {
			t.Errorf("%s: %d turns are taken; want %d", step.what, n, step.taken)
		}
	}
	mustSpend(t.Context(), t, 1<<30) // which has no turns
}

func mustSpend(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	if err := Spend(ctx, n); err != nil {
		t.Error(err)
	}
}

func mustTurn(ctx context.Context, t *testing.T, n int) (done func()) {
	t.Helper()
	done, err := Turn(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// Requests that decode in several goroutines, wait for memory that others hold, and wait for
// look-ups of others that need turns, all come to an end, and none of them waits in vain.
func TestTurnsEndWhateverRequestsWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests, memory = 50, 100
		b := New(memory)
		type lookup struct {
			begun atomic.Bool
			done  chan struct{}
		}
		lookups := [5]lookup{}
		for i := range lookups {
			lookups[i].done = make(chan struct{})
		}
		began := time.Now()
		var all sync.WaitGroup
		for i := range requests {
			all.Go(func() {
				ctx, end := WithTurns(WithClient(t.Context(), fmt.Sprint(i%7)))
				defer end()
				l := &lookups[i%len(lookups)]
				if l.begun.CompareAndSwap(false, true) { // for all that want it, on behalf of the first
					go func() {
						defer close(l.done)
						done, err := Turn(ctx, 1<<20)
						if err != nil {
							t.Error(err)
							return
						}
						time.Sleep(time.Millisecond)
						done()
					}()
				}
				mustSpend(ctx, t, 1<<20)
				func() {
					defer Away(ctx)()
					<-l.done
				}()
				var parts sync.WaitGroup
				for range 3 {
					parts.Go(func() {
						mustSpend(ctx, t, 1<<20)
						time.Sleep(time.Millisecond)
					})
				}
				parts.Wait()
				release, err := b.Take(ctx, memory/2)
				if err != nil {
					t.Error(err)
					return
				}
				defer release()
				mustSpend(ctx, t, 1)
				time.Sleep(time.Millisecond)
			})
		}
		all.Wait()
		if took := time.Since(began); took >= Wait || turns().Held() != 0 {
			t.Errorf("it took %v, and %d turns are taken in the end", took, turns().Held())
		}
	})
}

func TestTurnsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const large = small + 1
		var all []func()
		for range turns().Limit() {
			done, err := Turn(t.Context(), large)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, done)
		}
		if done, err := Turn(t.Context(), small); err != nil {
			t.Errorf("a few bytes need no turn: %v", err)
		} else {
			done()
		}
		began := time.Now()
		if _, err := Turn(t.Context(), large); !errors.Is(err, ErrFull) || time.Since(began) != Wait {
			t.Errorf("%v after %v, while all turns are taken", err, time.Since(began))
		}
		left := errors.New("the client left")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(left)
		if _, err := Turn(ctx, large); !errors.Is(err, left) {
			t.Errorf("%v for a client that left", err)
		}
		for _, done := range all {
			go func() {
				time.Sleep(Wait / 2)
				done()
			}()
		}
		done, err := Turn(t.Context(), large)
		if err != nil {
			t.Fatalf("%v, though a turn ended in time", err)
		}
		done()
		time.Sleep(Wait)
	})
}
