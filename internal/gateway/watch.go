package gateway

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrStalled says that a gateway did not answer, or not go on, in time.
var ErrStalled = errors.New("stalled")

// step is the number of bytes with which a gateway earns new patience. Were it
// one, a byte now and then would keep a client waiting for ever.
const step = 64 << 10

// A watch measures the time that is spent waiting for a gateway, and calls back
// when it is more than the patience for one step. Time between reads, in which
// a client is written to, does not count: a slow client is not a slow gateway.
type watch struct {
	timer    *time.Timer
	patience time.Duration

	left  time.Duration // of the patience for this step
	since time.Time     // when waiting began
	got   int           // bytes of this step

	verified bool // bytes count for nothing by themselves
}

func newWatch(patience time.Duration, expired func()) *watch {
	w := &watch{timer: time.AfterFunc(patience, expired), patience: patience, left: patience}
	w.timer.Stop()
	return w
}

func (w *watch) start() {
	w.since = time.Now()
	w.timer.Reset(w.left)
}

// stop ends a wait that yielded n bytes.
func (w *watch) stop(n int) {
	w.timer.Stop()
	w.left -= time.Since(w.since)
	w.got += n
	if w.got >= step && !w.verified {
		w.renew()
	}
}

func (w *watch) renew() { w.got, w.left = 0, w.patience }

// Progress tells that what was read of an answer's body is verified.
func Progress(body io.Reader) {
	if b, ok := body.(*watchedBody); ok {
		b.watch.renew()
	}
}

// watchedBody is an answer's body under watch.
type watchedBody struct {
	io.ReadCloser
	ctx   context.Context // of the attempt
	watch *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.start()
	n, err := b.ReadCloser.Read(p)
	b.watch.stop(n)
	if err != nil && err != io.EOF {
		err = cause(b.ctx, err)
	}
	return n, err
}

// cause puts the reason why ctx was cancelled in place of an error that only
// says that it was.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}
