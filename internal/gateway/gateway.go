package gateway

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// A gateway is what a pool remembers of one gateway.
type gateway struct {
	group     *group
	base      *url.URL
	transport http.RoundTripper
	penalty   atomic.Int64          // Unix time in nanoseconds at which it stops being last in its group
	refused   [formats]atomic.Int64 // the same for each format: when it stops being asked last
	silence   silence
	delay     delay
	rest      rest
	refusals  refusals
	away      atomic.Bool // whether the last attempt got no response
}

// refusalMemory is how long the pool remembers that a gateway does not serve a format.
// It ends because the refusal may have been about one file only.
const refusalMemory = 10 * time.Minute

func (g *gateway) refuse(f Format, now time.Time) {
	g.refused[f].Store(now.Add(refusalMemory).UnixNano())
}

func (g *gateway) refuses(f Format, now time.Time) bool { return now.UnixNano() < g.refused[f].Load() }

func (g *gateway) hasPenalty(now time.Time) bool { return now.UnixNano() < g.penalty.Load() }

// Penalty is how long a failure counts against a gateway.
const Penalty = time.Minute

// A strike is a penalty that can be taken back.
type strike struct {
	gateway     *gateway
	before, now int64
	silenced    bool
}

func (g *gateway) strike(now time.Time) strike {
	until := now.Add(Penalty).UnixNano()
	return strike{gateway: g, before: g.penalty.Swap(until), now: until}
}

func (s strike) forgive() {
	s.gateway.penalty.CompareAndSwap(s.now, s.before)
	if s.silenced {
		s.gateway.silence.forgive()
	}
}
