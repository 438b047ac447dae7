package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// errOvertaken is the end of a slow turn once another gateway gave more.
var errOvertaken = fmt.Errorf("%w: another gateway was faster", ErrStalled)

// A turn is one gateway's chance to answer an exchange.
type turn struct {
	*gateway
	began    time.Time
	watch    *watch
	answered func(status int) // may be nil

	// dismiss ends a turn that is no longer needed, which is not the gateway's
	// fault.
	dismiss context.CancelFunc

	// cancel ends a turn with the reason why its gateway failed.
	cancel context.CancelCauseFunc

	// progress is called for each verified part of the answer.
	progress func(newBytes int, isSlow bool)

	// Guarded by the mutex of the race.
	isSlow      bool
	isOvertaken bool
	given       int64 // new verified bytes since the last gateway joined
}

// Progress says that the part of an answer which was read last is verified, and how
// many of its bytes are new to the caller: of several gateways that give the same
// bytes, only the first gives new ones. body is that of the response in
// Exchange.Accept.
func Progress(body io.Reader, newBytes int) {
	if b, ok := body.(*watchedBody); ok {
		b.turn.progress(newBytes, b.turn.watch.progress(newBytes))
	}
}

// A watchedBody is the body of an answer whose reads are timed.
type watchedBody struct {
	io.ReadCloser
	ctx  context.Context // of the turn
	turn *turn
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.turn.watch.start()
	n, err := b.ReadCloser.Read(p)
	b.turn.watch.stop()
	if err != nil && err != io.EOF {
		err = cause(b.ctx, err)
	}
	return n, err
}

// cause returns the reason why ctx was cancelled, or err if it was not.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// ask sends the request and has the answer accepted. The error is a verdict, or the
// gateway's fault.
func (t *turn) ask(ctx context.Context, x Exchange) error {
	t.watch.start()
	resp, err := t.get(ctx, x)
	t.watch.stop()
	if refused, ok := errors.AsType[verdict](err); ok {
		return refused // a redirect, which is an answer
	}
	if err != nil {
		err = cause(ctx, err)
		if ctx.Err() == nil || errors.Is(err, ErrStalled) {
			t.away.Store(true)
		}
		return beforeAnswer(err)
	}
	t.watch.stall.left = t.watch.patience
	defer drain(resp, func() { t.cancel(ErrStalled) })
	if t.answered != nil {
		t.answered(resp.StatusCode)
	}
	t.refusals.note(x.Path, resp.StatusCode)
	if busy, ok := busyUntil(resp, time.Now()); ok {
		t.rest.begin(busy)
		return Soft(busy)
	}
	if err := usable(resp); err != nil {
		return err
	}
	if err := x.Format.check(resp); err != nil {
		return Soft(err)
	}
	resp.Body = &watchedBody{resp.Body, ctx, t}
	return x.Accept(resp)
}

// overtake ends a slow turn because another gateway gave more. It must be called with
// the mutex of the race held.
func (t *turn) overtake() {
	t.isOvertaken = true
	t.cancel(errOvertaken)
}

// failure returns what an observer is told of the end of a turn. ctx is the
// observer's.
func (t *turn) failure(ctx context.Context, err error) *Failure {
	if err == nil || errors.Is(err, ErrMore) {
		return nil
	}
	v := judge(err)
	return &Failure{t.base.String(), v.error, v.strike && ctx.Err() == nil}
}
