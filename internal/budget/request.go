package budget

import (
	"context"
	"sync/atomic"
)

// A request is what budgets know of a client's request.
type request struct {
	client string // empty if it is not known
	number int64  // greater than those of older requests
}

type requestKey struct{}

var requests atomic.Int64

// WithClient returns a context for a request of a client. All that is taken with the
// context counts as held by that one request.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, requestKey{}, &request{client, requests.Add(1)})
}

// ForSameClient returns ctx for work that outlives the request which began it.
func ForSameClient(ctx, began context.Context) context.Context {
	return WithClient(ctx, requestOf(began).client)
}

// requestOf returns the request of a context, or one of its own for a context without.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{number: requests.Add(1)}
}
