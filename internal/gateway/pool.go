// Package gateway gets files below CIDs from HTTP gateways that nobody has to
// trust.
//
// A Pool asks one gateway after the other until one gave what was wanted. What
// was wanted is for the caller to say: Exchange.Accept reads an answer, and its
// error tells the pool what to think of the gateway. So going on at the next
// gateway, in the middle of a file as well, is one loop for everything.
//
// Failures only reorder, and a gateway is never left out, for anybody can make
// honest gateways look bad: by publishing a DAG that is wrong in itself, or by
// asking for what does not exist. A gateway that lied, failed or stalled comes,
// for a while, last in its own group; which group is asked first does not
// change, since somebody preferred it. Only the path with which it failed is
// asked for at all other gateways before, so that trying again does better even
// where the preferred group has but the one; and a gateway that hangs keeps its
// place with a head start only (quiet). An exchange in which every gateway failed
// says more about what was asked for than about any of them: beyond that path, it
// is held against none.
//
// A gateway gets nothing of the client's: no header, query or credential. How
// connections are made is the business of the http.RoundTripper of each group.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// Patience is how long a gateway may take until its header is there, and
	// then for every 64 KiB, or every leaf where those are verified. It is as
	// long as Kubo by default looks for a block (Gateway.RetrievalTimeout), after
	// which no answer is worth waiting for.
	Patience = 30 * time.Second

	// Penalty is how long a failure is remembered.
	Penalty = time.Minute
)

// A Group is a set of gateways that are as good as one another.
type Group struct {
	Upstreams []*url.URL // as ParseUpstream returns them
	Transport http.RoundTripper
}

// A Config is what a Pool is made of.
type Config struct {
	Groups   []Group       // most preferred first
	Patience time.Duration // Patience unless set
	Observer Observer      // may be nil
}

// A Pool is one or more groups of gateways. Its methods may be called
// concurrently.
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

// An Exchange is something that is wanted from whichever gateway can give it.
type Exchange struct {
	Path   string     // below the gateway's URL: ipfs/<cid>/…
	Format Format     // in which it is wanted
	Query  url.Values // besides what the format takes; may be nil

	// Header adds to the header of each attempt's request. It may be nil.
	Header func(http.Header)

	// Accept takes an answer of status 200, 206 or 416. Where it returns nil,
	// the exchange is done. With ErrMore it is too if no other gateway answers.
	// Otherwise Soft, Stop and Fatal say what the error means; any other is the
	// gateway's fault, and the next one is asked.
	// While it does not read the body, no time counts against the gateway.
	Accept func(*http.Response) error

	// Verified says that only what Accept tells Progress of earns the gateway
	// new patience, since it reads what may be false up to the end of a leaf; and
	// that what a gateway says not to have may exist: that proves nothing.
	Verified bool

	// Failed is told of each attempt that failed. It may be nil.
	Failed func(Failure)

	answered func(status int) // may be nil
}

// A Failure is an attempt that did not give what was wanted.
type Failure struct {
	Gateway string // its URL
	Err     error
	Strike  bool // whether it counts against the gateway
}

func (f Failure) Error() string { return f.Gateway + ": " + f.Err.Error() }

func (f Failure) Unwrap() error { return f.Err }

// ErrMore says of an answer that it was good, and that another gateway is to be
// asked as well.
var ErrMore = errors.New("another gateway is to be asked as well")

// Do asks gateways until one gives what is wanted. If none does, the error is
// an Error; if ctx is done, its cause; and if Accept returned Stop or Fatal,
// what they hold.
func (p *Pool) Do(ctx context.Context, x Exchange) error {
	var (
		failed  Error
		strikes []strike
		good    bool
	)
	for turns := p.turns(p.order(x, time.Now())); len(turns) > 0; turns = turns[1:] {
		t, began := turns[0], time.Now()
		err := p.attempt(ctx, t, x)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrMore) {
			good = true
			continue
		}
		// A client that leaves makes every answer fail, and no gateway bad.
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v := judge(err)
		f := Failure{t.base.String(), v.error, v.strike}
		if x.Failed != nil {
			x.Failed(f)
		}
		if v.strike {
			now := time.Now()
			s := t.strike(now)
			s.silenced = errors.Is(err, errSilent) && t.quiet.begin(began)
			strikes = append(strikes, s)
			p.marks.add(t.gateway, x.Path, now)
		}
		if errors.Is(err, ErrRefused) {
			t.refuse(x.Format, time.Now())
		}
		if v.stop {
			return v.error
		}
		if p.isShort(t) && errors.Is(err, errSilent) {
			turns = append(turns, turn{t.gateway, p.patience})
			continue
		}
		failed = append(failed, f)
	}
	if good {
		return nil
	}
	for _, s := range slices.Backward(strikes) {
		s.forgive()
	}
	return failed
}

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

// A verdict is what an error means for the exchange and for the gateway.
type verdict struct {
	error
	stop, strike bool
}

func (v verdict) Unwrap() error { return v.error }

// Soft says that the next gateway is to be asked, and this one not to blame.
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

// ParseUpstream reads the address of a gateway: an http or https URL, with the
// path that /ipfs/ is below if that is not the root. An address without scheme
// gets the given one. Errors name the address, but no password in it.
func ParseUpstream(s, scheme string) (*url.URL, error) {
	if strings.HasPrefix(s, "unix/") || strings.HasPrefix(s, "unix:") {
		return nil, fmt.Errorf("%s: gateways are reached by http and https, not by Unix sockets", s)
	}
	if !strings.Contains(s, "://") {
		s = scheme + "://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("not a URL: %w", errors.Unwrap(err))
	}
	if wrong := whatIsWrong(u); wrong != "" {
		return nil, fmt.Errorf("%s: %s", u.Redacted(), wrong)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func whatIsWrong(u *url.URL) string {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "a gateway has an http or https URL"
	case u.Hostname() == "":
		return "there is no host in it"
	case !isPort(u.Port()):
		return "there is no such port"
	case u.User != nil:
		return "credentials have no place in it, since it appears in logs"
	case u.RawQuery != "" || u.ForceQuery:
		return "a query has no place in it"
	case u.Fragment != "":
		return "a fragment has no place in it"
	case u.RawPath != "":
		return "an escaped path has no place in it"
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/ipfs"):
		return "leave out /ipfs: a gateway's URL ends before it"
	}
	return ""
}

// isPort reports whether s is a TCP port, or empty.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}
