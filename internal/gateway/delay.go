package gateway

import (
	"math"
	"sync"
	"time"
)

// A delay is how long a gateway usually takes until the first part of a good answer is
// verified.
//
// A gateway can be slow for clients and yet too fast for a race to begin, such as one that
// takes a second for every small file. A gateway that is much later than another one of its
// group is therefore asked after it, until lateMemory is over.
type delay struct {
	mu    sync.Mutex
	usual time.Duration // a mean in which the last answer counts as much as all before it
	at    time.Time     // when the last answer came
}

const (
	lateMemory = time.Minute

	// A gateway is late if its delay is above leastLate and lateFactor times that of another.
	leastLate  = 200 * time.Millisecond
	lateFactor = 4
)

// note adds the delay of one answer.
func (d *delay) note(delay time.Duration, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.at) < lateMemory {
		delay = (d.usual + delay) / 2
	}
	d.usual, d.at = delay, now
}

// now returns the usual delay, or the greatest duration if none is known.
func (d *delay) now(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.at) >= lateMemory {
		return math.MaxInt64
	}
	return d.usual
}

// isLate reports whether the delay is much greater than the least of the group.
func (d *delay) isLate(least time.Duration, now time.Time) bool {
	usual := d.now(now)
	return usual != math.MaxInt64 && usual > leastLate && usual/lateFactor > least
}
