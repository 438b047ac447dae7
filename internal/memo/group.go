package memo

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Group runs one look-up at a time for each key, whose result all callers get
// that wait for it. A look-up outlives the caller that began it, and is cancelled
// when its last caller has left. The zero Group is ready for use, and its methods
// may be called concurrently.
type Group[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*Call[K, V] // those that a caller can join
}

// A Call is one look-up, under way or done.
type Call[K comparable, V any] struct {
	// Began is when the look-up began.
	Began time.Time

	group   *Group[K, V]
	key     K
	waiting int // callers; guarded by the group's mutex
	cancel  context.CancelFunc

	done  chan struct{} // closed once value and err are set
	value V
	err   error
}

// Do returns what find returns for a key, or the cause of ctx if that ends first.
func (g *Group[K, V]) Do(ctx context.Context, key K, find func(context.Context) (V, error)) (V, error) {
	c := g.Join(ctx, key, find)
	defer c.Leave()
	select {
	case <-c.Done():
		return c.Result()
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

// Join returns the look-up of a key that is under way, or begins one with find.
// The context of find has the values of ctx, but not its end. A caller that no
// longer waits calls Leave; one that does not keeps the look-up going.
func (g *Group[K, V]) Join(ctx context.Context, key K, find func(context.Context) (V, error)) *Call[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.calls[key]
	if c == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c = &Call[K, V]{Began: time.Now(), group: g, key: key, cancel: cancel, done: make(chan struct{})}
		if g.calls == nil {
			g.calls = map[K]*Call[K, V]{}
		}
		g.calls[key] = c
		go c.run(ctx, find)
	}
	c.waiting++
	return c
}

// Len returns how many look-ups are under way that a caller waits for.
func (g *Group[K, V]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

func (c *Call[K, V]) run(ctx context.Context, find func(context.Context) (V, error)) {
	defer c.cancel()
	defer close(c.done)
	c.value, c.err = c.find(ctx, find)
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	c.forget()
}

// find calls find and turns a panic into an error: find may decode hostile bytes,
// and a fault in that must not end a server.
func (c *Call[K, V]) find(ctx context.Context, find func(context.Context) (V, error)) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("looking up %v: panic: %v", c.key, p)
		}
	}()
	return find(ctx)
}

// Done is closed when the look-up has ended.
func (c *Call[K, V]) Done() <-chan struct{} { return c.done }

// Result returns what find returned. It must not be called before Done is closed.
func (c *Call[K, V]) Result() (V, error) { return c.value, c.err }

// Leave says that a caller no longer waits. The last one's cancels the look-up,
// and the next caller begins a new one.
func (c *Call[K, V]) Leave() {
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		c.forget()
		c.cancel()
	}
}

// forget lets the next caller begin a new look-up. It must be called with the
// group's mutex held.
func (c *Call[K, V]) forget() {
	if c.group.calls[c.key] == c {
		delete(c.group.calls, c.key)
	}
}
