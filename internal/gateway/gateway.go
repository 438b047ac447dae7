package gateway

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

type gateway struct {
	base      *url.URL
	transport http.RoundTripper
	penalty   atomic.Int64          // Unix time in nanoseconds until which it is last in its group
	refused   [formats]atomic.Int64 // the same until which it is not asked first for a format
	silence   silence
	rest      rest
	refusals  refusals
	away      atomic.Bool // whether no answer began the last time
}

// refusal is how long it is remembered that a gateway does not serve a format.
// The answer may have been about the content.
const refusal = 10 * time.Minute

func (g *gateway) refuse(f Format, now time.Time) { g.refused[f].Store(now.Add(refusal).UnixNano()) }

func (g *gateway) refuses(f Format, now time.Time) bool { return now.UnixNano() < g.refused[f].Load() }

// Penalty is how long a failure is remembered.
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
