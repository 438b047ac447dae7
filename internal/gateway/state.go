package gateway

import "time"

// A State is what a pool knows of one of its gateways.
type State struct {
	Gateway string // its URL
	Group   int    // from 0

	// PutBack is the time until which the gateway is asked after the others of its
	// group. It may be in the past.
	PutBack time.Time

	// Busy is the time until which the gateway is not asked, because it answered
	// with Retry-After.
	Busy time.Time

	Silent   bool     // whether other gateways join after a head start
	Away     bool     // whether no answer began the last time
	Refusing bool     // whether it seems to refuse everything
	Refuses  []Format // formats for which it is asked last
}

// States returns the state of each gateway, group after group.
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
