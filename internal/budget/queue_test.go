package budget

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A taker is a goroutine that takes bytes.
type taker struct {
	err     error
	after   time.Duration
	release func()
	done    chan struct{}
}

func take(ctx context.Context, b *Budget, n int64) *taker {
	t, began := &taker{done: make(chan struct{})}, time.Now()
	go func() {
		defer close(t.done)
		t.release, t.err = b.Take(ctx, n)
		t.after = time.Since(began)
	}()
	synctest.Wait()
	return t
}

// isServed reports whether the taker has its bytes.
func (t *taker) isServed() bool {
	synctest.Wait()
	select {
	case <-t.done:
		return t.err == nil
	default:
		return false
	}
}

// A request for much does not wait for ever behind requests for little.
func TestWaitersAreServedInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		first, second := take(t.Context(), b, 60), take(t.Context(), b, 40)
		large, small := take(t.Context(), b, 70), take(t.Context(), b, 10)
		second.release()
		if small.isServed() {
			t.Error("a request for little was served before an older one for much")
		}
		if _, ok := b.TryTake(10); ok {
			t.Error("bytes were given away that a request waits for")
		}
		first.release()
		if !large.isServed() || !small.isServed() {
			t.Error("a request was not served although there were bytes for it")
		}
	})
}

// A part that is full delays those only who want something of it.
func TestFullPartDelaysNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		part := b.Part(2)
		take(t.Context(), part, 50)
		waiting := take(t.Context(), part, 10)
		if !take(t.Context(), b, 20).isServed() || !take(t.Context(), b.Part(4), 20).isServed() {
			t.Error("a request waits for a part that it wants nothing of")
		}
		if waiting.isServed() {
			t.Error("a part gave more than it has")
		}
	})
}

// However many requests a client has, and however many of them wait, another client is
// served as soon as one of them ends.
func TestClientThatHoldsTheLeastIsServedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		var held []*taker
		for range 200 {
			held = append(held, take(WithClient(t.Context(), "stranger"), b, 10))
		}
		honest := take(WithClient(t.Context(), "honest"), b, 10)
		held[0].release()
		if !honest.isServed() {
			t.Error("a client that holds nothing waits behind one that holds everything")
		}
		if held[10].isServed() {
			t.Error("ten bytes were given to two")
		}
		honest.release()
		if !held[10].isServed() || held[11].isServed() {
			t.Error("the oldest request of the other client is not the next")
		}
	})
}

// Requests that each hold a part of what the others wait for do not all fail: one gives up
// at once, and the others go on.
func TestRequestsDoNotWaitForOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		const requests = 5
		var served int
		var all sync.WaitGroup
		var mu sync.Mutex
		began := time.Now()
		for i := range requests {
			all.Go(func() {
				s := b.Share(WithClient(t.Context(), fmt.Sprint(i%2)))
				defer s.Close()
				for range 6 { // 60 bytes in the end
					time.Sleep(time.Millisecond)
					if err := s.Grow(t.Context(), 10); err != nil {
						return
					}
				}
				mu.Lock()
				defer mu.Unlock()
				served++
			})
		}
		all.Wait()
		if served == 0 || time.Since(began) >= Wait {
			t.Errorf("%d of %d requests were served after %v", served, requests, time.Since(began))
		}
		if b.Held() != 0 || len(b.state.requests)+len(b.state.clients)+len(b.state.waiting) != 0 {
			t.Errorf("%d bytes are held in the end", b.Held())
		}
	})
}

// All that is taken on behalf of one request counts together. A request that needs more than
// there is fails at once.
func TestRequestThatNeedsEverythingFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		ctx := WithClient(t.Context(), "client")
		s := b.Share(ctx)
		defer s.Close()
		if err := s.Grow(ctx, 60); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := s.Grow(ctx, 50); !errors.Is(err, ErrFull) || time.Since(began) != 0 {
			t.Errorf("a share of 110 bytes, after %v: %v", time.Since(began), err)
		}
		if _, err := b.Take(ctx, 50); !errors.Is(err, ErrFull) || time.Since(began) != 0 {
			t.Errorf("110 bytes for one request, after %v: %v", time.Since(began), err)
		}
		if other := take(t.Context(), b, 50); other.isServed() {
			t.Error("100 bytes gave 110")
		}
	})
}

// A client that leaves while it waits does not delay those behind it.
func TestWaiterThatLeavesMakesRoomForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		take(t.Context(), b, 60)
		ctx, leave := context.WithCancel(t.Context())
		gone, next := take(ctx, b, 90), take(t.Context(), b, 40)
		if gone.isServed() || next.isServed() {
			t.Error("a request was served out of its order")
		}
		leave()
		if !next.isServed() {
			t.Error("a request waits behind one that has left")
		}
		if !errors.Is(gone.err, context.Canceled) {
			t.Errorf("the one that left: %v", gone.err)
		}
	})
}

// One client cannot make the budget keep any number of requests.
func TestRequestsOfOneClientThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		take(WithClient(t.Context(), "stranger"), b, 100)
		var all sync.WaitGroup
		for range maxWaiting {
			all.Go(func() { _, _ = b.Take(WithClient(t.Context(), "stranger"), 1) })
		}
		synctest.Wait()
		began := time.Now()
		if _, err := b.Take(WithClient(t.Context(), "stranger"), 1); !errors.Is(err, ErrFull) || time.Since(began) != 0 {
			t.Errorf("one more, after %v: %v", time.Since(began), err)
		}
		if _, err := b.Take(WithClient(t.Context(), "honest"), 1); !errors.Is(err, ErrFull) || time.Since(began) != Wait {
			t.Errorf("another client, after %v: %v", time.Since(began), err)
		}
		all.Wait()
	})
}
