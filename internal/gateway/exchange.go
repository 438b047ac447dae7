package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// An Exchange is a request that any gateway of a pool may answer.
//
// Several gateways may be asked at the same time where the first is slow, so its
// functions must be safe for concurrent use, except for Failed.
type Exchange struct {
	Path   string // below the gateway's URL: ipfs/<cid>/…
	Format Format

	// Ask completes the query and the header of each request. It may be nil.
	Ask func(url.Values, http.Header)

	// Accept reads and verifies an answer of status 200, 206 or 416. A gateway's
	// 404 proves nothing, so Accept never sees one. If it returns nil, the exchange
	// is done. After ErrMore another gateway is asked, and the exchange succeeds
	// even if none answers. Soft, Stop and Fatal qualify errors; any other error is
	// the gateway's fault, and another gateway is asked.
	//
	// Accept calls Progress for each verified part of the body, since nothing else
	// earns the gateway more time. Time that Accept spends outside of reads does
	// not count against the gateway.
	Accept func(*http.Response) error

	// Failed is called for each turn that failed. It may be nil.
	Failed func(Failure)
}

// ErrMore says that an answer was good, and that another gateway should be asked as
// well.
var ErrMore = errors.New("another gateway is to be asked as well")

// An Observer is called for each turn before the gateway is asked, and returns the
// context to ask it with.
type Observer func(ctx context.Context, gateway string, x Exchange) (context.Context, Attempt)

// An Attempt observes one turn of a gateway. If its context has ended, no failure
// counts against the gateway.
type Attempt interface {
	// Answered is called when the header of the answer has been read.
	Answered(status int)

	// Ended is called last, with nil if the gateway gave a good answer.
	Ended(failed *Failure)
}

// A Failure is a turn that gave no good answer.
type Failure struct {
	Gateway string // its URL
	Err     error
	Strike  bool // whether it counts against the gateway
}

func (f Failure) Error() string { return f.Gateway + ": " + f.Err.Error() }

func (f Failure) Unwrap() error { return f.Err }

// An Error holds the failure of each gateway where all failed.
type Error []Failure

func (e Error) Error() string {
	if len(e) == 0 {
		return "no gateway"
	}
	s := make([]string, len(e))
	for i, f := range e {
		s[i] = f.Error()
	}
	return strings.Join(s, "; ")
}

// Unwrap returns the failures, so that errors.Is finds the reason of any of them.
func (e Error) Unwrap() []error {
	errs := make([]error, len(e))
	for i, f := range e {
		errs[i] = f
	}
	return errs
}

// All reports whether every gateway failed with target.
func (e Error) All(target error) bool {
	for _, f := range e {
		if !errors.Is(f, target) {
			return false
		}
	}
	return len(e) > 0
}

// Busy returns the BusyError of the gateway that may be asked again first, if any
// gateway is busy: it could have what the others did not give.
func (e Error) Busy() (first BusyError, ok bool) {
	for _, f := range e {
		busy, is := errors.AsType[BusyError](f.Err)
		if is && (!ok || busy.Until.Before(first.Until)) {
			first, ok = busy, true
		}
	}
	return first, ok
}

// A verdict is what an error means for the exchange and for the gateway.
type verdict struct {
	error
	stop, strike bool
}

func (v verdict) Unwrap() error { return v.error }

// Soft qualifies an error that is not the gateway's fault. The next gateway is asked.
func Soft(err error) error { return verdict{err, false, false} }

// Stop qualifies an error that no gateway can mend and none is at fault for.
func Stop(err error) error { return verdict{err, true, false} }

// Fatal qualifies an error that is the gateway's fault and comes too late for another
// gateway.
func Fatal(err error) error { return verdict{err, true, true} }

func judge(err error) verdict {
	if v, ok := errors.AsType[verdict](err); ok {
		return v
	}
	return verdict{err, false, true}
}
