package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// An Exchange is something that is wanted from whichever gateway can give it.
type Exchange struct {
	Path   string     // below the gateway's URL: ipfs/<cid>/…
	Format Format     // in which it is wanted
	Query  url.Values // besides what the format takes; may be nil

	// Header adds to the header of each attempt's request. It may be nil.
	Header func(http.Header)

	// Accept takes an answer of status 200, 206 or 416. If it returns nil, the
	// exchange is done; with ErrMore it is, too, if no other gateway answers.
	// Soft, Stop and Fatal say what another error means. Any other error is the
	// gateway's fault, and the next one is asked.
	// While it does not read the body, no time counts against the gateway.
	Accept func(*http.Response) error

	// Verified says that Accept verifies the answer. Then only a call of Progress
	// earns the gateway new patience, since Accept may read false bytes up to the
	// end of a leaf; and a gateway's 404 proves nothing.
	Verified bool

	// Failed is called for each attempt that failed. It may be nil.
	Failed func(Failure)

	answered func(status int) // may be nil
}

// ErrMore says of an answer that it was good, and that another gateway is to be
// asked as well.
var ErrMore = errors.New("another gateway is to be asked as well")

// An Observer is called for every attempt, before the gateway is asked, and returns
// the context to ask it with.
type Observer func(ctx context.Context, gateway string, x Exchange) (context.Context, Attempt)

// An Attempt is what an Observer wants to know of one. An attempt whose context
// ended is no gateway's failure.
type Attempt interface {
	// Answered is called when the header is there, if it ever is.
	Answered(status int)

	// Ended is called last, with nil if the gateway gave what was wanted.
	Ended(failed *Failure)
}

// A Failure is an attempt that did not give what was wanted.
type Failure struct {
	Gateway string // its address
	Err     error
	Strike  bool // whether it counts against the gateway
}

func (f Failure) Error() string { return f.Gateway + ": " + f.Err.Error() }

func (f Failure) Unwrap() error { return f.Err }

// An Error says of every gateway why it did not give what was wanted.
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

// Unwrap returns the failures, so that errors.Is finds what any of them was.
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

// Soft says that the next gateway is to be asked, and that this one is not to blame.
func Soft(err error) error { return verdict{err, false, false} }

// Stop says that no other gateway can do better, and that none is to blame.
func Stop(err error) error { return verdict{err, true, false} }

// Fatal says that the gateway is to blame, and that it is too late for another.
func Fatal(err error) error { return verdict{err, true, true} }

func judge(err error) verdict {
	if v, ok := errors.AsType[verdict](err); ok {
		return v
	}
	return verdict{err, false, true}
}

// Patience is how long a gateway may take to begin its answer, and then for every
// 64 KiB, or for every leaf where answers are verified. It is as long as Kubo by
// default looks for a block (Gateway.RetrievalTimeout), after which no answer is
// worth waiting for.
const Patience = 30 * time.Second
