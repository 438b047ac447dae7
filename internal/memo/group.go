package memo

import (
	"context"
	"fmt"
	"sync"
)

// A Group runs one look-up at a time for each key. All callers that wait for it get its
// result. A look-up outlives the caller that began it, and is cancelled when its last
// caller has left. The zero Group is ready for use, and its methods may be called
// concurrently.
type Group[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[K, V] // those that a caller can join
}

// A call is one look-up, under way or done.
type call[K comparable, V any] struct {
	group   *Group[K, V]
	key     K
	waiting int // callers; guarded by the group's mutex
	cancel  context.CancelFunc

	done  chan struct{} // closed once value and err are set
	value V
	err   error
}

// Do returns what find returns for a key, or the cause of ctx if that ends first.
// The context of find has the values of ctx, but not its end.
func (g *Group[K, V]) Do(ctx context.Context, key K, find func(context.Context) (V, error)) (V, error) {
	c := g.join(ctx, key, find)
	defer c.leave()
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

// join returns the look-up of a key that is under way, or begins one. The caller must
// leave it in the end.
func (g *Group[K, V]) join(ctx context.Context, key K, find func(context.Context) (V, error)) *call[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.calls[key]
	if c == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c = &call[K, V]{group: g, key: key, cancel: cancel, done: make(chan struct{})}
		if g.calls == nil {
			g.calls = map[K]*call[K, V]{}
		}
		g.calls[key] = c
		go c.run(ctx, find)
	}
	c.waiting++
	return c
}

func (c *call[K, V]) run(ctx context.Context, find func(context.Context) (V, error)) {
	defer c.cancel()
	defer close(c.done)
	c.value, c.err = c.find(ctx, find)
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	c.forget()
}

// find calls find and turns a panic into an error: find may decode hostile bytes,
// and a fault in that must not end a server.
func (c *call[K, V]) find(ctx context.Context, find func(context.Context) (V, error)) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("looking up %v: panic: %v", c.key, p)
		}
	}()
	return find(ctx)
}

// leave notes that a caller no longer waits. When the last one leaves, the look-up is
// cancelled, and the next caller begins a new one.
func (c *call[K, V]) leave() {
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		c.forget()
		c.cancel()
	}
}

// forget makes the next caller begin a new look-up. It must be called with the
// group's mutex held.
func (c *call[K, V]) forget() {
	if c.group.calls[c.key] == c {
		delete(c.group.calls, c.key)
	}
}
