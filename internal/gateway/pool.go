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
// or stalled is asked last in its group for a while. A gateway that is much later than the
// others of its group, or that lacked something below the same root, is asked after them.
// The order of groups is the
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
	"math"
	"net/http"
	"net/url"
	"slices"
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

// pace returns how long a turn that has more than a head start may wait before it is slow.
func pace(patience time.Duration) time.Duration { return patience / 3 }

// headStart returns how long a turn of a gateway may wait before it is slow. The time is
// short if the gateway is silent or has a penalty, or if another one of its group would
// usually have answered long ago.
func (p *Pool) headStart(gw *gateway, now time.Time) time.Duration {
	if gw.silence.silent.Load() || gw.hasPenalty(now) || gw.group.leastDelay(now, gw) < headStart/lateFactor {
		return min(headStart, pace(p.patience))
	}
	return pace(p.patience)
}

type group struct {
	gateways []*gateway
	next     atomic.Uint32 // index of the gateway that is asked first next time
}

func newGroup(g Group) *group {
	out := &group{}
	for _, u := range g.Upstreams {
		out.gateways = append(out.gateways, &gateway{group: out, base: u, transport: g.Transport})
	}
	return out
}

// order returns all gateways in the order in which they are asked: group after group,
// and last those that failed with the path or refuse the format.
func (p *Pool) order(x Exchange, now time.Time) []*gateway {
	var first, last []*gateway
	root := rootOf(x.Path)
	for _, g := range p.groups {
		for _, gw := range g.order(now, func(gw *gateway) bool { return p.marks.has(gw, root, now) }) {
			if p.marks.has(gw, x.Path, now) || gw.refuses(x.Format, now) {
				last = append(last, gw)
			} else {
				first = append(first, gw)
			}
		}
	}
	return append(first, last...)
}

// order returns the group's gateways, each first in its turn. Late gateways come after the
// others, then those with a penalty, and those that lack the content come last.
func (g *group) order(now time.Time, lacks func(*gateway) bool) []*gateway {
	if len(g.gateways) == 0 {
		return nil
	}
	turn := int((g.next.Add(1) - 1) % uint32(len(g.gateways)))
	ordered := slices.Concat(g.gateways[turn:], g.gateways[:turn])
	least := g.leastDelay(now, nil)
	rank := make(map[*gateway]int, len(ordered))
	for _, gw := range ordered {
		for _, isBad := range []bool{lacks(gw), gw.hasPenalty(now), gw.delay.isLate(least, now)} {
			rank[gw] *= 2
			if isBad {
				rank[gw]++
			}
		}
	}
	slices.SortStableFunc(ordered, func(a, b *gateway) int { return cmp.Compare(rank[a], rank[b]) })
	return ordered
}

// leastDelay returns the least usual delay of the gateways without a penalty, except one.
func (g *group) leastDelay(now time.Time, except *gateway) time.Duration {
	least := time.Duration(math.MaxInt64)
	for _, gw := range g.gateways {
		if gw != except && !gw.hasPenalty(now) {
			least = min(least, gw.delay.now(now))
		}
	}
	return least
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
