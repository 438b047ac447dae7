package images

import (
	"context"
	"errors"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

const (
	// declinedFor is how long gateways are not asked again for what all of them declined.
	// It is short, because content may be published at any time.
	declinedFor = 2 * time.Second

	maxDeclined = 4096 // places
)

// A declinedMemory remembers for a moment what all gateways declined to serve, so that
// clients who ask again and again cost gateways nothing. It is not for absences that
// directories prove, nor for gateways that failed.
type declinedMemory struct {
	known *lru.Cache[layout.Place, declined]
}

type declined struct {
	until time.Time
	err   error
}

func newDeclinedMemory() declinedMemory {
	known, err := lru.New[layout.Place, declined](maxDeclined)
	if err != nil {
		panic(err) // the size is positive
	}
	return declinedMemory{known}
}

// ask returns what read gets from gateways below a place, or the error that it returned a
// moment ago.
func ask[T any](ctx context.Context, m declinedMemory, at layout.Place, read func() (T, error)) (T, error) {
	if last, ok := m.known.Get(at); ok && time.Now().Before(last.until) {
		var none T
		return none, last.err
	}
	found, err := read()
	if ctx.Err() == nil && allDeclined(err) {
		m.known.Add(at, declined{time.Now().Add(declinedFor), err})
	}
	return found, err
}

// allDeclined reports whether every gateway declined, as opposed to failed or asked for a
// pause.
func allDeclined(err error) bool {
	failures, ok := errors.AsType[gateway.Error](err)
	if _, busy := failures.Busy(); !ok || busy || len(failures) == 0 {
		return false
	}
	return !slices.ContainsFunc(failures, func(f gateway.Failure) bool { return f.Strike })
}
