package gateway

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// errSilent says that a gateway did not even begin to answer.
var errSilent = fmt.Errorf("%w before its answer began", ErrStalled)

// beforeAnswer returns the error of an attempt that got no answer. A time limit of
// the transport itself, if it has one, counts like ours.
func beforeAnswer(err error) error {
	limit, ok := errors.AsType[net.Error](err)
	if errors.Is(err, ErrStalled) || ok && limit.Timeout() {
		return errSilent
	}
	return err
}

// headStart is how long a silent gateway has to begin its answer before the next
// one is asked.
const headStart = time.Second

// A silence is whether a gateway is silent: it began no answer to anybody in all the
// time that one request had, which another gateway could answer. That ends with
// its next answer, to whatever.
//
// A silent gateway keeps its place, with no more than a head start, so that a node
// that hangs does not cost each request all of our patience. Where the others
// cannot give what is wanted, it is asked again and has its time. So whoever has a
// node look for what it does not find takes nothing off it of what it has: that it
// gives at once, and is silent no more.
type silence struct {
	heard  atomic.Int64 // Unix time in nanoseconds at which the last answer began
	silent atomic.Bool
}

func (s *silence) end(now time.Time) {
	s.heard.Store(now.UnixNano())
	s.silent.Store(false)
}

// begin notes that a request was waited for in vain since some time, and reports
// whether that made the gateway silent.
func (s *silence) begin(since time.Time) bool {
	return s.heard.Load() < since.UnixNano() && s.silent.CompareAndSwap(false, true)
}

func (s *silence) forgive() { s.silent.Store(false) }
