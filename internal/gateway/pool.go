// Package gateway gets files below CIDs from a pool of HTTP gateways that need not be
// trusted.
//
// A Pool asks gateways for an Exchange until one gives a good answer. The caller decides
// what is good: Exchange.Accept reads and verifies an answer, and its error tells the pool
// whose fault a bad one is. So one loop asks the next gateway after every kind of failure,
// even in the middle of a file.
//
// Time is bounded by the rate of verified bytes. While every gateway at work is slow,
// the next one joins, and a slow one stops once another has given more.
//
// Failures change the order of gateways only. A publisher can make honest gateways
// look bad with a DAG that is false in itself, and a client can by requesting missing
// content, so every gateway is asked before an exchange fails, except for one that
// answered with Retry-After: it is not asked until then. A gateway that lied, failed
// or stalled is asked last in its group for a while. The order of groups is the
// operator's preference and does not change; only the path that the gateway failed
// with is requested from all other gateways first. If every gateway failed, the
// content is more likely to be the reason than any of them, and nothing but that path
// counts against a gateway.
//
// A gateway receives no header, query or credential of the client. Connections are
// made by the http.RoundTripper of each group.
package gateway

import (
	"cmp"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// A Group is a set of gateways that are equally preferred.
type Group struct {
	Upstreams []*url.URL // as returned by ParseUpstream
	Transport http.RoundTripper
}

// A Config is the configuration of a Pool.
type Config struct {
	Groups   []Group       // most preferred first
	Patience time.Duration // default: Patience
	Observer Observer      // may be nil
}

// A Pool is one or more groups of gateways. Its methods may be called concurrently.
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

// pace returns how long a turn may wait before it is slow.
func (p *Pool) pace() time.Duration { return p.patience / 3 }

type group struct {
	gateways []*gateway
	next     atomic.Uint32 // index of the gateway that is asked first next time
}

func newGroup(g Group) *group {
	out := &group{}
	for _, u := range g.Upstreams {
		out.gateways = append(out.gateways, &gateway{base: u, transport: g.Transport})
	}
	return out
}

// order returns all gateways in the order in which they are asked: group after group,
// and last those that failed with the path or refuse the format.
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

// order returns the group's gateways, each first in its turn, and last those with a
// penalty.
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

// Refuses reports whether every gateway is known to refuse a format.
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
