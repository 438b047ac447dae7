package names

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
)

const (
	// maxWait is how long a request that has an answer waits for a better one: for a
	// newer link, or for the record of a second gateway.
	maxWait = 3 * time.Second

	// maxLookup is how long one look-up may take. A gateway may search a distributed
	// hash table for half a minute.
	maxLookup = 2 * time.Minute
)

// A linkCache remembers links. Requests for the same name share one look-up.
type linkCache struct {
	lookup  func(context.Context, Name) (link, error)
	known   *memory[link]
	lookups memo.Group[Name, link]
}

// newLinkCache returns a cache. It calls noteInUse once for each name in use.
func newLinkCache(lookup func(context.Context, Name) (link, error), isConfigured func(Name) bool, noteInUse func(Name)) *linkCache {
	return &linkCache{lookup: lookup, known: newMemory[link](isConfigured, noteInUse)}
}

// get returns the link of n. If a look-up takes longer than maxWait, it returns the
// known link while that is valid.
func (l *linkCache) get(ctx context.Context, n Name) (link, error) {
	now := time.Now()
	last, isKnown := l.known.use(n)
	switch {
	case isKnown && now.Before(last.fresh):
		return last, nil
	case isKnown && now.Before(last.valid):
		return l.refresh(ctx, n, last)
	}
	return l.lookups.Do(ctx, n, func(ctx context.Context) (link, error) { return l.find(ctx, n) })
}

// refresh looks a name up that has a valid link. The look-up goes on if the request
// leaves, since the name is in use.
func (l *linkCache) refresh(ctx context.Context, n Name, last link) (link, error) {
	type result struct {
		link link
		err  error
	}
	done := make(chan result, 1)
	go func() {
		found, err := l.lookups.Do(context.WithoutCancel(ctx), n, func(ctx context.Context) (link, error) { return l.find(ctx, n) })
		done <- result{found, err}
	}()
	select {
	case r := <-done:
		return r.link, r.err
	case <-time.After(maxWait):
		// Other requests do not wait, unless a look-up has ended by now.
		l.known.update(n, func(now link, ok bool) (link, bool) { return last.stale(), ok && now == last })
		return last, nil
	case <-ctx.Done():
		return link{}, context.Cause(ctx)
	}
}

// find looks a name up and remembers the result. ctx ends when all requests have left.
func (l *linkCache) find(ctx context.Context, n Name) (link, error) {
	limited, cancel := context.WithTimeout(ctx, maxLookup)
	defer cancel()
	found, err := l.lookup(limited, n)
	if ctx.Err() != nil {
		return link{}, context.Cause(ctx) // a later look-up may know better
	}
	if err == nil {
		l.known.set(n, found)
		return found, nil
	}
	if isGone(err) {
		l.known.remove(n)
		return link{}, err
	}
	if last, isKnown := l.known.get(n); isKnown && time.Now().Before(last.valid) {
		found = last.stale()
		l.known.set(n, found)
		return found, nil
	}
	return link{}, err
}

// isGone reports whether a failed look-up proves that a name stands for nothing any
// more. A gateway without a record proves nothing.
func isGone(err error) bool {
	_, ofGateways := errors.AsType[gateway.Error](err)
	return errors.Is(err, fs.ErrNotExist) && !ofGateways
}
