package gateway

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// errSilent says that a gateway did not begin to answer in time.
var errSilent = fmt.Errorf("%w before its answer began", ErrStalled)

// beforeAnswer returns the error of a turn that got no answer. A timeout of the
// transport counts like ours.
func beforeAnswer(err error) error {
	timeout, ok := errors.AsType[net.Error](err)
	if errors.Is(err, ErrStalled) || ok && timeout.Timeout() {
		return errSilent
	}
	return err
}

// A silence records whether a gateway is silent: during a whole turn that another
// gateway then answered, it began no answer to any request. Its next answer, of
// whatever kind, ends the silence.
//
// A silent gateway keeps its place in the order, but the next gateway joins after a
// head start. So a node that hangs costs each request a second and not all of the
// patience, while a client that requests missing content takes nothing from a node
// that answers other requests.
type silence struct {
	heard  atomic.Int64 // Unix time in nanoseconds at which the last answer began
	silent atomic.Bool
}

func (s *silence) end(now time.Time) {
	s.heard.Store(now.UnixNano())
	s.silent.Store(false)
}

// begin records that a turn which began at since got no answer, and reports whether
// that made the gateway silent.
func (s *silence) begin(since time.Time) bool {
	return s.heard.Load() < since.UnixNano() && s.silent.CompareAndSwap(false, true)
}

func (s *silence) forgive() { s.silent.Store(false) }
