package ctxio

import (
	"context"
	"io"
	"time"
)

// A Wait gives up a request whose answer makes no progress for some time. Only the
// time between Start and Stop counts, so the caller may take as long as it likes
// over what has come.
type Wait struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	patience time.Duration
	timer    *time.Timer
}

// NewWait returns the wait for a request, which must be made with its Context. The
// context ends with the error silent as its cause if the answer makes no progress for
// as long as patience.
func NewWait(ctx context.Context, patience time.Duration, silent error) *Wait {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Wait{ctx, cancel, patience, time.AfterFunc(patience, func() { cancel(silent) })}
	w.Stop()
	return w
}

// Context returns the context of the request.
func (w *Wait) Context() context.Context { return w.ctx }

// Start begins to wait for the next bytes.
func (w *Wait) Start() { w.timer.Reset(w.patience) }

// Stop ends the time that Start began.
func (w *Wait) Stop() { w.timer.Stop() }

// Cancel ends the request.
func (w *Wait) Cancel() {
	w.Stop()
	w.cancel(nil)
}

// Body returns r with the wait's time limit on each read. Closing it ends the request.
func (w *Wait) Body(r io.ReadCloser) io.ReadCloser { return &waitedBody{r, w} }

type waitedBody struct {
	io.ReadCloser
	wait *Wait
}

func (b *waitedBody) Read(p []byte) (int, error) {
	b.wait.Start()
	n, err := b.ReadCloser.Read(p)
	b.wait.Stop()
	if err != nil && err != io.EOF && b.wait.ctx.Err() != nil {
		err = context.Cause(b.wait.ctx)
	}
	return n, err
}

func (b *waitedBody) Close() error {
	b.wait.Stop()
	err := b.ReadCloser.Close()
	b.wait.Cancel()
	return err
}
