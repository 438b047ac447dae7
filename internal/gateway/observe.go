package gateway

import (
	"context"
	"errors"
	"time"
)

// An Observer is told of every attempt, when a gateway is about to be asked, and
// returns the context to ask it with.
type Observer func(ctx context.Context, gateway string, x Exchange) (context.Context, Attempt)

// An Attempt is what an Observer wants to know of one. An attempt that ended with
// its context is nobody's failure.
type Attempt interface {
	// Answered is called when the header is there, if it ever is.
	Answered(status int)

	// Ended is called last, with nil if the gateway gave what was wanted.
	Ended(failed *Failure)
}

// attempt asks one gateway once, under the eyes of the observer.
func (p *Pool) attempt(ctx context.Context, t turn, x Exchange) error {
	if p.observer == nil {
		return t.attempt(ctx, x, p.patience)
	}
	ctx, seen := p.observer(ctx, t.base.String(), x)
	x.answered = seen.Answered
	err := t.attempt(ctx, x, p.patience)
	if err == nil || errors.Is(err, ErrMore) {
		seen.Ended(nil)
		return err
	}
	v := judge(err)
	seen.Ended(&Failure{t.base.String(), v.error, v.strike && ctx.Err() == nil})
	return err
}

// A State is what a pool thinks of one of its gateways.
type State struct {
	Gateway string // its URL
	Group   int    // the first is 0

	// PutBack is until when it is asked after the others of its group. That is
	// over if it is in the past.
	PutBack time.Time

	Silent  bool     // whether it is not waited for as long
	Away    bool     // whether nothing came back when it was asked last
	Refuses []Format // that it is not asked first for
}

// States returns what the pool thinks of its gateways, group after group.
func (p *Pool) States() []State {
	now := time.Now()
	var states []State
	for i, group := range p.groups {
		for _, g := range group.gateways {
			s := State{Gateway: g.base.String(), Group: i, PutBack: time.Unix(0, g.penalty.Load()), Silent: g.quiet.silent.Load(), Away: g.away.Load()}
			for f := range Format(formats) {
				if g.refuses(f, now) {
					s.Refuses = append(s.Refuses, f)
				}
			}
			states = append(states, s)
		}
	}
	return states
}

// String is what people call the format.
func (f Format) String() string {
	return [formats]string{Plain: "plain", CAR: "car", Raw: "raw", IPNSRecord: "ipns-record"}[f]
}
