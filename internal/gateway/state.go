package gateway

import "time"

// A State is what a pool thinks of one of its gateways.
type State struct {
	Gateway string // its URL
	Group   int    // the first is 0

	// PutBack is until when it is asked after the others of its group. That is
	// over if it is in the past.
	PutBack time.Time

	// Busy is until when it is not asked, because it said so.
	Busy time.Time

	Silent   bool     // whether it is not waited for as long
	Away     bool     // whether no answer began when it was asked last
	Refusing bool     // whether it seems to refuse everybody
	Refuses  []Format // that it is not asked first for
}

// States returns what the pool thinks of its gateways, group after group.
func (p *Pool) States() []State {
	now := time.Now()
	var states []State
	for i, group := range p.groups {
		for _, g := range group.gateways {
			s := State{Gateway: g.base.String(), Group: i, PutBack: time.Unix(0, g.penalty.Load()), Silent: g.silence.silent.Load(), Away: g.away.Load(), Refusing: g.refusals.ofAll()}
			if busy, ok := g.rest.until(now); ok {
				s.Busy = busy.Until
			}
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
