package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

const (
	// hurry is how long a request waits for a better answer than the one at hand: for
	// a newer link, or for a second gateway's record.
	hurry = 3 * time.Second

	// limit is how long one look-up may take. In a distributed hash table a gateway
	// may need half a minute.
	limit = 2 * time.Minute
)

// A linkCache remembers links, and looks each name up once at a time,
// however many ask.
type linkCache struct {
	lookup func(context.Context, Name) (link, error)

	mu      sync.Mutex
	known   *simplelru.LRU[Name, link]
	flights map[Name]*flight
}

func newLinkCache(lookup func(context.Context, Name) (link, error)) *linkCache {
	known, err := simplelru.NewLRU[Name, link](maxNames, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &linkCache{lookup: lookup, known: known, flights: map[Name]*flight{}}
}

// A flight is a look-up that is under way.
type flight struct {
	name    Name
	began   time.Time
	waiting int
	kept    bool // even if nobody waits any more
	cancel  context.CancelFunc

	done chan struct{} // closed when what follows is set
	link link
	err  error
}

// get returns what n stands for. Who has to wait too long gets what was known
// before, if that is still valid.
func (l *linkCache) get(ctx context.Context, n Name) (link, error) {
	now := time.Now()
	l.mu.Lock()
	last, known := l.known.Get(n)
	if known && now.Before(last.fresh) {
		l.mu.Unlock()
		return last, nil
	}
	usable := known && now.Before(last.valid)
	f := l.join(n, usable)
	l.mu.Unlock()

	var late <-chan time.Time
	if usable {
		late = time.After(f.began.Add(hurry).Sub(now))
	}
	select {
	case <-f.done:
		return f.link, f.err
	case <-late:
		l.leave(f)
		return last, nil
	case <-ctx.Done():
		l.leave(f)
		return link{}, context.Cause(ctx)
	}
}

// join returns the look-up that is under way, or begins one. It has a context of
// its own, so that nobody takes the answer with them who leaves.
func (l *linkCache) join(n Name, kept bool) *flight {
	f := l.flights[n]
	if f == nil {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		f = &flight{name: n, began: time.Now(), kept: kept, cancel: cancel, done: make(chan struct{})}
		l.flights[n] = f
		go l.fly(ctx, f)
	}
	f.waiting++
	return f
}

// leave ends a look-up that nobody waits for, unless the name is one that is
// known to be in use.
func (l *linkCache) leave(f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.waiting--
	if f.waiting == 0 && !f.kept {
		l.land(f)
	}
}

func (l *linkCache) fly(ctx context.Context, f *flight) {
	got, err := l.try(ctx, f.name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flights[f.name] == f { // or the next one knows better
		got, err = l.learn(f.name, got, err)
	}
	f.link, f.err = got, err
	close(f.done)
	l.land(f)
}

// try is lookup, with an error for a panic: what decodes hostile bytes should not
// panic, and if it does, that is no reason for a server to end.
func (l *linkCache) try(ctx context.Context, n Name) (got link, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("looking up %s: panic: %v", n, p)
		}
	}()
	return l.lookup(ctx, n)
}

// learn remembers what a look-up has found, and returns what is known now.
func (l *linkCache) learn(n Name, got link, err error) (link, error) {
	if err == nil {
		l.known.Add(n, got)
		return got, nil
	}
	if isGone(err) {
		l.known.Remove(n)
		return link{}, err
	}
	if last, known := l.known.Get(n); known && time.Now().Before(last.valid) {
		got = last.stale()
		l.known.Add(n, got)
		return got, nil
	}
	return link{}, err
}

// isGone reports whether a name is known to stand for nothing any more. That a
// gateway has no record proves nothing.
func isGone(err error) bool {
	_, gateways := errors.AsType[gateway.Error](err)
	return errors.Is(err, fs.ErrNotExist) && !gateways
}

// land takes a look-up from those that can be joined.
func (l *linkCache) land(f *flight) {
	f.cancel()
	if l.flights[f.name] == f {
		delete(l.flights, f.name)
	}
}
