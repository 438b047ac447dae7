// Package ctxio ends reading and writing when a context is done, or when the other
// side falls silent. Files know no contexts, and copying a layer takes a while.
package ctxio

import (
	"context"
	"io"
)

// Reader returns a reader of r that fails with the context's cause once the context
// is done.
func Reader(ctx context.Context, r io.Reader) io.Reader { return &reader{ctx, r} }

type reader struct {
	ctx  context.Context
	from io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p)
}

// Writer returns a writer that discards everything until the context is done, and
// then fails with its cause.
func Writer(ctx context.Context) io.Writer { return writer{ctx} }

type writer struct{ ctx context.Context }

func (w writer) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return len(p), nil
}
