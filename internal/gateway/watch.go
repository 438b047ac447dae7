package gateway

import (
	"errors"
	"time"
)

// ErrStalled says that a gateway did not answer, or did not go on, in time.
var ErrStalled = errors.New("stalled")

// Patience is the default for how long a gateway may take to begin its answer, and
// then for each verified part of it. It equals the time that Kubo looks for a block by
// default (Gateway.RetrievalTimeout), after which no answer is to be expected.
const Patience = 30 * time.Second

const (
	// minRate is the number of new verified bytes a second below which a gateway
	// is slow.
	minRate = 128 << 10

	// headStart is how long a gateway may wait before it is slow, if another one is likely
	// to be faster. Otherwise it may wait for a third of the patience.
	headStart = time.Second

	// maxDelay is how much longer than at minRate a gateway that has given verified
	// bytes may take for more before it is slow. It is less than a third of the
	// patience: the gateway has the content and does not have to look for it.
	maxDelay = 3 * time.Second
)

// A watch measures the time that a turn spends waiting for its gateway. Time between
// reads, in which the client is written to, does not count: a slow client does not
// make a slow gateway.
type watch struct {
	stall, slow  allowance
	patience     time.Duration
	maxAllowance time.Duration // of slow
	since        time.Time     // start of the current wait
	waited       time.Duration // before
}

// newWatch returns a watch that calls stalled when the gateway gives nothing for
// patience, and slow when it gives fewer bytes than minRate for longer than slowAfter.
func newWatch(patience, slowAfter time.Duration, stalled, slow func()) *watch {
	return &watch{
		stall:        newAllowance(patience, stalled),
		slow:         newAllowance(slowAfter, slow),
		patience:     patience,
		maxAllowance: slowAfter,
	}
}

// start begins a wait.
func (w *watch) start() {
	w.since = time.Now()
	w.stall.run()
	w.slow.run()
}

// stop ends a wait.
func (w *watch) stop() {
	waited := time.Since(w.since)
	w.waited += waited
	w.stall.spend(waited)
	w.slow.spend(waited)
}

// progress credits n new verified bytes to the gateway, and renews the patience with
// it. It reports whether the gateway is slow nevertheless.
func (w *watch) progress(n int) (isSlow bool) {
	w.stall.left = w.patience
	w.maxAllowance = min(maxDelay, w.patience/3)
	// A gateway is slow no longer than it takes to make up for one allowance.
	debt := max(w.slow.left, -w.maxAllowance)
	w.slow.left = min(debt+time.Duration(n)*time.Second/minRate, w.maxAllowance)
	return w.slow.left <= 0
}

// An allowance is a time that may be spent waiting.
type allowance struct {
	timer *time.Timer
	left  time.Duration
}

// newAllowance returns an allowance that calls expired, in a goroutine of its own,
// when it is spent.
func newAllowance(d time.Duration, expired func()) allowance {
	timer := time.AfterFunc(d, expired)
	timer.Stop()
	return allowance{timer, d}
}

func (a *allowance) run() {
	if a.left > 0 {
		a.timer.Reset(a.left)
	}
}

func (a *allowance) spend(d time.Duration) {
	a.timer.Stop()
	a.left -= d
}
