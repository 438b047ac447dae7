package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// How a slow turn ends once another gateway gave more. A turn that had only a head start and
// gave nothing does not count as stalled.
var (
	errOvertaken = fmt.Errorf("%w: another gateway was faster", ErrStalled)
	errLate      = Soft(errors.New("another gateway was faster"))
)

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

	isGood bool // a part of the answer is verified

	// Guarded by the mutex of the race.
	isSlow      bool
	isOvertaken bool
	hasGiven    bool
	given       int64 // new verified bytes since the last gateway joined
}

// Progress says that the part of an answer which was read last is verified, and how
// many of its bytes are new to the caller: of several gateways that give the same
// bytes, only the first gives new ones. body is that of the response in
// Exchange.Accept.
func Progress(body io.Reader, newBytes int) {
	if b, ok := body.(*watchedBody); ok {
		b.turn.noteDelay()
		b.turn.progress(newBytes, b.turn.watch.progress(newBytes))
	}
}

// noteDelay notes how long the gateway took, once a part of its answer is verified.
func (t *turn) noteDelay() {
	if !t.isGood {
		t.isGood = true
		t.delay.note(t.watch.waited, time.Now())
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
	err = x.Accept(resp)
	if err == nil {
		t.noteDelay()
	}
	return err
}

// overtake ends a slow turn because another gateway gave more. It must be called with
// the mutex of the race held.
func (t *turn) overtake() {
	t.isOvertaken = true
	waited := time.Since(t.began)
	if t.hasGiven || waited >= pace(t.watch.patience) {
		t.cancel(errOvertaken)
		return
	}
	t.delay.note(waited, time.Now())
	t.cancel(errLate)
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
