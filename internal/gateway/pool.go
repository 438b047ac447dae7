// Package gateway gets files below CIDs from HTTP gateways that nobody has to
// trust.
//
// A Pool asks one gateway after the other until one gave what was wanted. What
// was wanted is for the caller to say: Exchange.Accept reads an answer, and its
// error tells the pool what to think of the gateway. So going on at the next
// gateway, in the middle of a file as well, is one loop for everything.
//
// Failures only reorder, and a gateway is never left out, for anybody can make
// honest gateways look bad: by publishing a DAG that is wrong in itself, or by
// asking for what does not exist. A gateway that lied, failed or stalled comes,
// for a while, last in its own group; which group is asked first does not
// change, since somebody preferred it. Only the path with which it failed is
// asked for at all other gateways before, so that trying again does better even
// where the preferred group has but the one; and a gateway that hangs keeps its
// place with a head start only (silence). An exchange in which every gateway failed
// says more about what was asked for than about any of them: beyond that path, it
// is held against none.
//
// A gateway gets nothing of the client's: no header, query or credential. How
// connections are made is the business of the http.RoundTripper of each group.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"
)

// A Group is a set of gateways that are as good as one another.
type Group struct {
	Upstreams []*url.URL // as ParseUpstream returns them
	Transport http.RoundTripper
}

// A Config is what a Pool is made of.
type Config struct {
	Groups   []Group       // most preferred first
	Patience time.Duration // Patience unless set
	Observer Observer      // may be nil
}

// A Pool is one or more groups of gateways. Its methods may be called
// concurrently.
type Pool struct {
	patience time.Duration
	observer Observer
	groups   []*group
	marks    marks
}

// NewPool returns a pool.
func NewPool(c Config) *Pool {
	p := &Pool{patience: cmp.Or(c.Patience, Patience), observer: c.Observer}
	for _, g := range c.Groups {
		p.groups = append(p.groups, newGroup(g))
	}
	return p
}

// Do asks gateways until one gives what is wanted. If none does, the error is
// an Error; if ctx is done, its cause; and if Accept returned Stop or Fatal,
// what they hold.
func (p *Pool) Do(ctx context.Context, x Exchange) error {
	var (
		failed  Error
		strikes []strike
		good    bool
	)
	for turns := newTurns(p.order(x, time.Now()), p.patience); len(turns) > 0; turns = turns[1:] {
		t, began := turns[0], time.Now()
		if busy, ok := t.rest.until(began); ok {
			failed = append(failed, Failure{t.base.String(), busy, false})
			continue
		}
		err := p.attempt(ctx, t, x)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrMore) {
			good = true
			continue
		}
		// A client that leaves makes every answer fail, and no gateway bad.
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v := judge(err)
		f := Failure{t.base.String(), v.error, v.strike}
		if x.Failed != nil {
			x.Failed(f)
		}
		if v.strike {
			now := time.Now()
			s := t.strike(now)
			s.silenced = errors.Is(err, errSilent) && t.silence.begin(began)
			strikes = append(strikes, s)
			p.marks.add(t.gateway, x.Path, now)
		}
		if errors.Is(err, ErrRefused) {
			t.refuse(x.Format, time.Now())
		}
		if v.stop {
			return v.error
		}
		if t.isHeadStart() && errors.Is(err, errSilent) {
			turns = append(turns, t.again())
			continue
		}
		failed = append(failed, f)
	}
	if good {
		return nil
	}
	for _, s := range slices.Backward(strikes) {
		s.forgive()
	}
	return failed
}

// attempt asks one gateway once, under the eyes of the observer.
func (p *Pool) attempt(ctx context.Context, t turn, x Exchange) error {
	if p.observer == nil {
		return t.attempt(ctx, x)
	}
	ctx, seen := p.observer(ctx, t.base.String(), x)
	x.answered = seen.Answered
	err := t.attempt(ctx, x)
	if err == nil || errors.Is(err, ErrMore) {
		seen.Ended(nil)
		return err
	}
	v := judge(err)
	seen.Ended(&Failure{t.base.String(), v.error, v.strike && ctx.Err() == nil})
	return err
}

type group struct {
	gateways []*gateway
	next     atomic.Uint32 // whose turn it is to be first
}

func newGroup(g Group) *group {
	out := &group{}
	for _, u := range g.Upstreams {
		out.gateways = append(out.gateways, &gateway{base: u, transport: g.Transport})
	}
	return out
}

// order returns all gateways, as they are to be asked: group after group, and at
// the end of all those that failed with that path, or refused the format.
func (p *Pool) order(x Exchange, now time.Time) []*gateway {
	var first, last []*gateway
	for _, g := range p.groups {
		for _, gw := range g.order(now) {
			if p.marks.has(gw, x.Path, now) || gw.refuses(x.Format, now) {
				last = append(last, gw)
			} else {
				first = append(first, gw)
			}
		}
	}
	return append(first, last...)
}

// order returns the group's gateways from the one whose turn it is, and those
// with a penalty at the end.
func (g *group) order(now time.Time) []*gateway {
	var first, last []*gateway
	turn := g.next.Add(1) - 1
	n := uint32(len(g.gateways))
	for i := range n {
		gw := g.gateways[(turn%n+i)%n]
		if now.UnixNano() < gw.penalty.Load() {
			last = append(last, gw)
		} else {
			first = append(first, gw)
		}
	}
	return append(first, last...)
}

// Refuses reports whether no gateway is known to serve a format.
func (p *Pool) Refuses(f Format) bool {
	now := time.Now()
	for _, group := range p.groups {
		for _, g := range group.gateways {
			if !g.refuses(f, now) {
				return false
			}
		}
	}
	return true
}
