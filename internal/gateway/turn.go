package gateway

import (
	"context"
	"errors"
	"time"
)

// A turn is one gateway's chance to answer an exchange.
type turn struct {
	*gateway
	begin    time.Duration // how long it may take to begin its answer
	patience time.Duration // how long it may take afterwards for each verified leaf
}

// newTurns returns the turns of gateways, in their order. A silent gateway gets only a
// head start, unless all of them are silent.
func newTurns(gateways []*gateway, patience time.Duration) []turn {
	turns := make([]turn, len(gateways))
	silent := 0
	for i, g := range gateways {
		turns[i] = turn{g, patience, patience}
		if g.silence.silent.Load() {
			turns[i].begin = min(headStart, patience)
			silent++
		}
	}
	if silent == len(gateways) {
		for i := range turns {
			turns[i].begin = patience
		}
	}
	return turns
}

// isHeadStart reports whether the gateway has less time to begin than patience.
func (t turn) isHeadStart() bool { return t.begin < t.patience }

// again returns the turn of the same gateway with all of its time.
func (t turn) again() turn { return turn{t.gateway, t.patience, t.patience} }

// attempt asks the gateway once. The error is a verdict, or the gateway's fault.
func (t turn) attempt(asker context.Context, x Exchange) error {
	ctx, cancel := context.WithCancelCause(asker)
	defer cancel(nil)
	watch := newWatch(t.patience, func() { cancel(ErrStalled) })
	watch.left = t.begin

	watch.start()
	resp, err := t.get(ctx, x)
	watch.stop(step)
	if err != nil {
		if refused, ok := errors.AsType[verdict](err); ok {
			return refused // a redirect, which is an answer
		}
		if asker.Err() == nil {
			t.away.Store(true)
		}
		return beforeAnswer(cause(ctx, err))
	}
	defer drain(resp, func() { cancel(ErrStalled) })
	if x.answered != nil {
		x.answered(resp.StatusCode)
	}
	t.refusals.note(x.Path, resp.StatusCode)
	if busy, ok := busyUntil(resp, time.Now()); ok {
		t.rest.begin(busy)
		return Soft(busy)
	}
	if err := usable(resp, !x.Verified); err != nil {
		return err
	}
	if err := x.Format.check(resp); err != nil {
		return Soft(err)
	}
	watch.verified = x.Verified
	resp.Body = &watchedBody{resp.Body, ctx, watch}
	return x.Accept(resp)
}
