package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// A race is one exchange under way. Gateways have their turns one after another. While
// all that are at it are slow, the next one joins, and what any of them gives counts.
// A slow turn ends when another gateway has given more. Its gateway is asked again if
// no other can finish.
type race struct {
	pool  *Pool
	ctx   context.Context
	x     Exchange
	ended chan result
	slow  chan struct{} // has room for one

	queue     []*gateway // that had no turn yet
	overtaken []*gateway // that had one, and may have another
	failed    Error
	lacking   []*gateway // the gateways that failed
	strikes   []strike
	isGood    bool // an answer was good, but more are wanted

	mu      sync.Mutex
	running []*turn
}

// A result is how a turn ended.
type result struct {
	turn     *turn
	err      error
	panicked any
}

// Do asks gateways until one gives a good answer. If none does, the error is an Error;
// if ctx is done, its cause; and if Accept returned Stop or Fatal, what they hold. Do
// returns when all calls of Accept have returned.
func (p *Pool) Do(ctx context.Context, x Exchange) error {
	defer budget.Away(ctx)()
	r := &race{
		pool: p, ctx: ctx, x: x,
		ended: make(chan result), slow: make(chan struct{}, 1),
		queue: p.order(x, time.Now()),
	}
	for {
		r.startWhileSlow()
		if len(r.running) == 0 {
			return r.outcome()
		}
		select {
		case <-r.slow:
			r.dropOvertaken()
		case end := <-r.ended:
			if isOver, err := r.settle(end); isOver {
				r.endAll(err == nil)
				return err
			}
		}
	}
}

// startNext gives the next gateway its turn, and reports whether there was one.
func (r *race) startNext() bool {
	for len(r.queue) > 0 {
		g := r.queue[0]
		r.queue = r.queue[1:]
		if busy, ok := g.rest.until(time.Now()); ok {
			r.failed = append(r.failed, Failure{g.base.String(), busy, false})
			continue
		}
		r.start(g)
		return true
	}
	if len(r.running) > 0 || len(r.overtaken) == 0 {
		return false
	}
	g := r.overtaken[0]
	r.overtaken = r.overtaken[1:]
	r.start(g)
	return true
}

func (r *race) start(g *gateway) {
	t := &turn{gateway: g, began: time.Now()}
	t.progress = func(newBytes int, isSlow bool) { r.progress(t, newBytes, isSlow) }
	ctx, dismiss := context.WithCancel(r.ctx)
	var seen Attempt
	if r.pool.observer != nil {
		ctx, seen = r.pool.observer(ctx, g.base.String(), r.x)
		t.answered = seen.Answered
	}
	asked, cancel := context.WithCancelCause(ctx)
	t.dismiss, t.cancel = dismiss, cancel
	t.watch = newWatch(r.pool.patience, r.pool.headStart(g, t.began), func() { cancel(ErrStalled) }, func() { r.noteSlow(t) })
	r.join(t)
	go func() {
		defer dismiss()
		defer cancel(nil)
		end := result{turn: t}
		defer func() {
			end.panicked = recover() // settle panics with it
			r.ended <- end
		}()
		end.err = t.ask(asked, r.x)
		if seen != nil {
			seen.Ended(t.failure(ctx, end.err))
		}
	}()
}

// settle judges a turn that has ended, and reports whether the exchange is over, and
// how.
func (r *race) settle(end result) (isOver bool, err error) {
	r.leave(end.turn)
	switch {
	case end.panicked != nil:
		r.endAll(false)
		panic(end.panicked)
	case end.err == nil:
		r.markLacking()
		return true, nil
	case errors.Is(end.err, ErrMore):
		r.isGood = true
		return false, nil
	case r.ctx.Err() != nil: // a client that leaves makes every turn fail
		return true, context.Cause(r.ctx)
	}
	f := r.blame(end)
	switch {
	case judge(end.err).stop:
		return true, f.Err
	case end.turn.isOvertaken:
		r.overtaken = append(r.overtaken, end.turn.gateway)
	default:
		r.failed = append(r.failed, f)
		r.lacking = append(r.lacking, end.turn.gateway)
	}
	return false, nil
}

// markLacking remembers which gateways failed with content that another gateway has. They
// probably lack other content below the same root, too.
func (r *race) markLacking() {
	for _, g := range r.lacking {
		r.pool.marks.add(g, rootOf(r.x.Path), time.Now())
	}
}

// blame reports a failed turn, and remembers it if the gateway was at fault.
func (r *race) blame(end result) Failure {
	t, now := end.turn, time.Now()
	v := judge(end.err)
	f := Failure{t.base.String(), v.error, v.strike}
	if r.x.Failed != nil {
		r.x.Failed(f)
	}
	if v.strike {
		s := t.strike(now)
		s.silenced = errors.Is(end.err, errSilent) && now.Sub(t.began) >= pace(r.pool.patience) && t.silence.begin(t.began)
		r.strikes = append(r.strikes, s)
		r.pool.marks.add(t.gateway, r.x.Path, now)
	}
	if errors.Is(end.err, ErrRefused) {
		t.refuse(r.x.Format, now)
	}
	return f
}

// outcome returns the result of an exchange once all turns have ended. Where every
// gateway failed, that counts against none.
func (r *race) outcome() error {
	if r.isGood {
		return nil
	}
	for _, s := range slices.Backward(r.strikes) {
		s.forgive()
	}
	return r.failed
}

// endAll ends all turns, and waits for that. Where another gateway has won, the slow
// ones have failed.
func (r *race) endAll(isWon bool) {
	r.mu.Lock()
	turns := r.running
	r.running = nil
	for _, t := range turns {
		if isWon && t.isSlow {
			t.overtake()
		} else {
			t.dismiss()
		}
	}
	r.mu.Unlock()
	for range turns {
		if end := <-r.ended; end.turn.isOvertaken && end.err != nil {
			_ = r.blame(end)
		}
	}
}

// startWhileSlow starts turns until one of them is not slow, or no gateway is left.
func (r *race) startWhileSlow() {
	for r.areAllSlow() {
		if !r.startNext() {
			return
		}
	}
}

// areAllSlow reports whether every running turn is slow.
func (r *race) areAllSlow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(r.running, func(t *turn) bool { return !t.isSlow })
}

// join adds a turn. From now on all are compared by what they give.
func (r *race) join(t *turn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = append(r.running, t)
	for _, t := range r.running {
		t.given = 0
	}
}

func (r *race) leave(t *turn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = slices.DeleteFunc(r.running, func(other *turn) bool { return other == t })
}

func (r *race) noteSlow(t *turn) {
	r.mu.Lock()
	t.isSlow = true
	r.mu.Unlock()
	select {
	case r.slow <- struct{}{}:
	default: // it is on its way
	}
}

// progress records what a turn gave. Slow turns that gave less end.
func (r *race) progress(t *turn, newBytes int, isSlow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.given += int64(newBytes)
	t.hasGiven = true
	t.isSlow = t.isSlow && isSlow
	r.overtake()
}

func (r *race) dropOvertaken() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.overtake()
}

// overtake ends the slow turns that gave less than another. It must be called with
// mu held.
func (r *race) overtake() {
	if len(r.running) < 2 {
		return
	}
	most := int64(0)
	for _, t := range r.running {
		most = max(most, t.given)
	}
	for _, t := range r.running {
		if t.isSlow && t.given < most {
			t.overtake()
		}
	}
}
