package remote

import (
	"context"
	"errors"
	"io"
	"time"
)

// Patience is how long who sends something to us may give nothing.
const Patience = time.Minute

// ErrSilent says that nothing came for so long.
var ErrSilent = errors.New("it has given nothing for a minute")

// A wait is a request that is given up when nothing comes for some time. What we
// do with what came may take as long as it likes.
type wait struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	patience time.Duration
	timer    *time.Timer
}

// newWait returns the wait for a request, which is to have its context. It ends
// with the given error when it takes too long.
func newWait(ctx context.Context, patience time.Duration, silent error) *wait {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &wait{ctx, cancel, patience, time.AfterFunc(patience, func() { cancel(silent) })}
	w.stop()
	return w
}

func (w *wait) start() { w.timer.Reset(w.patience) }
func (w *wait) stop()  { w.timer.Stop() }

// body returns an answer's body of which every read is waited for. Closing it
// ends the request.
func (w *wait) body(r io.ReadCloser) io.ReadCloser { return &patientBody{r, w} }

type patientBody struct {
	io.ReadCloser
	*wait
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.start()
	n, err := b.ReadCloser.Read(p)
	b.stop()
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *patientBody) Close() error {
	b.stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
