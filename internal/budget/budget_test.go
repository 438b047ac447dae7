package budget

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetIsNeverExceeded(t *testing.T) {
	b := New(100)
	part := b.Part(2)
	var all sync.WaitGroup
	for _, from := range []*Budget{b, part} {
		for range 25 {
			all.Go(func() {
				for range 1000 {
					if release, ok := from.TryTake(30); ok {
						if n, p := b.Held(), part.Held(); n > 100 || p > 50 {
							t.Errorf("%d bytes of 100 are held, and of the part %d of 50", n, p)
						}
						release()
						release() // does nothing
					}
				}
			})
		}
	}
	all.Wait()
	if b.Held() != 0 || part.Held() != 0 {
		t.Errorf("%d and %d bytes are held after all were given back", b.Held(), part.Held())
	}
	for i, want := range []bool{true, true, true, false} {
		if _, got := b.TryTake(30); got != want {
			t.Errorf("take %d of 30 bytes from 100: %v", i, got)
		}
	}
	if _, ok := b.TryTake(10); !ok {
		t.Error("10 bytes are left and were refused")
	}
	if _, ok := b.TryTake(1); ok {
		t.Error("a byte came from an empty budget")
	}
}

func TestPartLeavesRoomForOthers(t *testing.T) {
	b := New(100)
	part := b.Part(4)
	if _, ok := part.TryTake(26); ok {
		t.Error("a quarter of 100 bytes gave 26")
	}
	release, ok := part.TryTake(25)
	if !ok || b.Held() != 25 {
		t.Errorf("a part took 25 bytes: %v, and the whole holds %d", ok, b.Held())
	}
	if _, ok := b.TryTake(75); !ok {
		t.Error("the rest of the whole was refused")
	}
	release()
	if b.Held() != 75 || part.Held() != 0 {
		t.Errorf("the whole holds %d bytes and the part %d", b.Held(), part.Held())
	}
	b.SetLimit(75)
	if _, ok := part.TryTake(1); ok {
		t.Error("a part gave a byte that the whole does not have")
	}
}

func TestTakeWaitsForBytesThatAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		release, err := b.Take(t.Context(), 60)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(Wait/2, release)
		began := time.Now()
		if _, err := b.Take(t.Context(), 60); err != nil || time.Since(began) != Wait/2 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestTakeFailsWhenTheBudgetStaysFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		if _, err := b.Take(t.Context(), 60); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := b.Take(t.Context(), 101); !errors.Is(err, ErrFull) || time.Since(began) != 0 {
			t.Errorf("more than all there is, after %v: %v", time.Since(began), err)
		}
		if _, err := b.Take(t.Context(), 60); !errors.Is(err, ErrFull) || time.Since(began) != Wait {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		left := errors.New("the client left")
		time.AfterFunc(time.Second, func() { cancel(left) })
		if _, err := b.Take(ctx, 60); !errors.Is(err, left) {
			t.Errorf("a client that left: %v", err)
		}
		if b.Held() != 60 {
			t.Errorf("%d bytes are held", b.Held())
		}
	})
}

func TestShareGivesBackAllThatItTook(t *testing.T) {
	b := New(100)
	s := b.Share(t.Context())
	for range 10 {
		if err := s.Grow(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	if b.Held() != 100 {
		t.Errorf("%d bytes are held", b.Held())
	}
	s.Close()
	s.Close() // does nothing
	if b.Held() != 0 {
		t.Errorf("%d bytes are held after the share was closed", b.Held())
	}
}

func TestNilBudgetRefusesNothing(t *testing.T) {
	var none *Budget
	for _, b := range []*Budget{none, none.Part(2)} {
		release, err := b.Take(t.Context(), 1<<60)
		if err != nil {
			t.Fatal(err)
		}
		release()
		if s := b.Share(t.Context()); s.Grow(t.Context(), 1<<60) != nil {
			t.Error("a share of no budget refuses something")
		}
	}
}
