package fill

import (
	"sync"
	"time"
)

// Grace is how long a fill continues without readers.
const Grace = 30 * time.Second

const (
	// GraceBytes is how many bytes all fills without readers may fetch together at once, and
	// graceRate how many more each second.
	GraceBytes = 16 << 20
	graceRate  = 1 << 20

	// leastGrace is what a fill gets at least, unless it needs less: with a few bytes, none
	// comes to its end.
	leastGrace = 1 << 20

	// graceFactor is how many bytes a fill may fetch without readers for each byte that they
	// got, if they wanted only parts of the blob.
	graceFactor = 200
)

// A grace is what all fills without readers may fetch together.
type grace struct {
	mu    sync.Mutex
	taken float64 // bytes, of which graceRate come back each second
	last  time.Time
}

// take takes at most want bytes of a grace that never has more than all, and returns how
// many it took. It takes none where only a few are left.
func (g *grace) take(want, all int64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.taken = max(0, g.taken-now.Sub(g.last).Seconds()*graceRate)
	g.last = now
	n := min(want, all-int64(g.taken))
	if n < min(want, leastGrace) {
		return 0
	}
	g.taken += float64(n)
	return n
}

// giveBack gives back bytes that were taken and not fetched.
func (g *grace) giveBack(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken = max(0, g.taken-float64(n))
}

// endLater ends a fill without readers after a while, or when many more bytes have come
// than its readers wanted. It must be called with mu held.
func (fl *fill) endLater() {
	if fl.phase == complete || fl.ctx.Err() != nil {
		return // it ends anyway
	}
	if fl.idle.Add(1) > maxIdle {
		fl.idle.Add(-1)
		fl.cancel()
		return
	}
	if fl.isUsed() {
		fl.takeGrace()
	}
	fl.end = time.AfterFunc(fl.config.Grace, func() {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		if fl.readers == 0 && fl.phase != complete {
			fl.cancel()
		}
	})
}

// goOn undoes endLater. It must be called with mu held.
func (fl *fill) goOn() {
	if fl.end != nil {
		fl.end.Stop()
		fl.end = nil
		fl.idle.Add(-1)
		fl.together.giveBack(fl.grace)
		fl.grace = 0
	}
}

// takeGrace takes what the fill may use of the grace that all fills have together, or
// ends the fill if there is none. It must be called with mu held.
func (fl *fill) takeGrace() {
	most := fl.config.GraceBytes
	if !fl.whole.Load() {
		most = min(most, graceFactor*fl.given.Load())
	}
	if fl.table != nil {
		most = min(most, fl.table.Size()-fl.table.Start(min(fl.prefix, len(fl.leaves)-1)))
	}
	if fl.grace = fl.together.take(most, fl.config.GraceBytes); fl.grace == 0 {
		fl.cancel()
	}
}

// spendGrace counts n bytes that came, and ends a fill to which too many came without
// readers. A prefetch without readers ends when the free room is gone.
func (fl *fill) spendGrace(n int) {
	if !fl.isUsed() {
		if fl.cache.Free() < int64(n) {
			fl.cancel()
		}
		return
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.end == nil {
		return
	}
	if int64(n) > fl.grace {
		fl.cancel()
		return
	}
	fl.grace -= int64(n)
}
