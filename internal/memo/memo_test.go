package memo

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
)

func TestCacheRemovesTheLeastRecentlyUsed(t *testing.T) {
	const each = 1000
	c := NewCache(3*(each+Overhead), func(string, int) int { return each })
	for _, k := range []string{"a", "b", "c", "a", "d"} {
		if _, ok := c.Get(k); !ok {
			c.Add(k, 1)
		}
	}
	_, a := c.Get("a")
	_, b := c.Get("b")
	if !a || b || c.Len() != 3 || c.Bytes() != 3*(each+Overhead) {
		t.Errorf("%d bytes in %d entries; the used one is there: %v, the unused one: %v", c.Bytes(), c.Len(), a, b)
	}
}

func TestCacheCountsBytes(t *testing.T) {
	c := NewCache(10_000, func(k string, v []byte) int { return len(k) + len(v) })
	c.Add("too large", make([]byte, 10_000))
	for _, k := range []string{"x1", "x2", "y"} {
		c.Add(k, make([]byte, 100))
		c.Add(k, make([]byte, 3000)) // does nothing, since k has an entry
	}
	if want := 3*(Overhead+100) + 5; c.Bytes() != want || c.Len() != 3 {
		t.Errorf("%d bytes in %d entries, want %d", c.Bytes(), c.Len(), want)
	}
	if n := c.RemoveFunc(func(k string) bool { return strings.HasPrefix(k, "x") }); n != 2 || c.Len() != 1 {
		t.Errorf("%d removed, %d left", n, c.Len())
	}
	if c.Clear(); c.Bytes() != 0 || c.Len() != 0 {
		t.Errorf("%d bytes in %d entries after all were removed", c.Bytes(), c.Len())
	}
}

// The first caller may leave, and the others still get the result. When the last caller
// leaves, the look-up is cancelled, and the next caller begins another.
func TestLookupOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int64]
		var begun, cancelled atomic.Int64
		find := func(ctx context.Context) (int64, error) {
			n := begun.Add(1)
			select {
			case <-time.After(time.Minute):
				return n, nil
			case <-ctx.Done():
				cancelled.Add(1)
				return 0, ctx.Err()
			}
		}
		errLeft := errors.New("left")
		ask := func(patience time.Duration, want int64) {
			ctx, leave := context.WithCancelCause(t.Context())
			defer leave(nil)
			time.AfterFunc(patience, func() { leave(errLeft) })
			got, err := g.Do(ctx, "key", find)
			if want == 0 && !errors.Is(err, errLeft) || want > 0 && (err != nil || got != want) {
				t.Errorf("a caller that waits for %s gets %d, %v, want %d", patience, got, err, want)
			}
		}
		for seconds := range 3 {
			go ask(time.Duration(1+seconds)*time.Second, 0)
		}
		clocktest.Advance(10 * time.Second)
		if begun.Load() != 1 || cancelled.Load() != 1 || underWay(&g) != 0 {
			t.Errorf("%d began and %d were cancelled, %d are under way", begun.Load(), cancelled.Load(), underWay(&g))
		}
		go ask(time.Second, 0)
		for range 100 {
			go ask(time.Hour, 2)
		}
		clocktest.Advance(2 * time.Minute)
		if begun.Load() != 2 || underWay(&g) != 0 {
			t.Errorf("%d began, %d are under way", begun.Load(), underWay(&g))
		}
	})
}

func underWay[K comparable, V any](g *Group[K, V]) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

func TestPanicIsAnError(t *testing.T) {
	var g Group[string, string]
	_, err := g.Do(t.Context(), "key", func(context.Context) (string, error) { panic("at the disco") })
	if err == nil || !strings.Contains(err.Error(), "looking up key: panic: at the disco") {
		t.Error(err)
	}
}
