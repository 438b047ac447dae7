package images

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Class is what an error says about the requested content.
type Class int

// The classes of errors.
const (
	Fault       Class = iota // a failure of this machine or program
	Absent                   // proved: no source can have it
	Lacking                  // not in this source, but perhaps in another
	False                    // the content does not match its name, in every source
	Broken                   // an image that image2ipfs 0.1.0 wrote wrong: converter repair fixes it
	Denied                   // by the lists
	Unavailable              // no gateway could deliver it
	Late                     // no gateway delivered it in time
	Gone                     // the client left, or does not want it any more
	Full                     // too many requests need memory or processor time
)

// An Error is an error and its class.
type Error struct {
	Class Class
	Err   error

	// Status and RetryAfter are what the gateways answered, where all that could
	// have answered want to be asked later: 429 or 503. They are 0 otherwise, but for
	// the RetryAfter of Full.
	Status     int
	RetryAfter time.Duration
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

func newError(c Class, err error) *Error { return &Error{Class: c, Err: err} }

// Classify returns an error of any package that images are read by as an *Error, nil
// for nil. All errors of a request that is over are Gone.
func Classify(ctx context.Context, err error) *Error {
	if err == nil {
		return nil
	}
	return classify(ctx, err)
}

func classify(ctx context.Context, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if ctx.Err() != nil {
		return newError(Gone, err)
	}
	if errors.Is(err, budget.ErrFull) {
		return &Error{Class: Full, Err: err, RetryAfter: budget.Wait}
	}
	if refusals, ok := errors.AsType[gateway.Error](err); ok {
		return ofGateways(refusals, err)
	}
	return newError(classOf(err), err)
}

func ofGateways(failures gateway.Error, err error) *Error {
	e := newError(Unavailable, err)
	if failures.All(gateway.ErrStalled) {
		e.Class = Late
	}
	if busy, ok := failures.Busy(); ok {
		e.Status, e.RetryAfter = busy.Status, max(time.Second, time.Until(busy.Until).Round(time.Second))
	}
	return e
}

// classOf returns the class of an error that is not about gateways.
func classOf(err error) Class {
	_, denied := errors.AsType[*denylist.Denied](err)
	switch {
	case denied, errors.Is(err, denylist.ErrNotAllowed):
		return Denied
	case errors.Is(err, layout.ErrUncompressedDigest):
		return Broken
	case errors.Is(err, layout.ErrLacking):
		return Lacking
	case errors.Is(err, fs.ErrNotExist):
		return Absent
	case errors.Is(err, store.ErrDamaged):
		return Fault
	case isFalse(err):
		return False
	}
	return Fault
}

// isFalse reports whether an error is about content that does not match its name.
func isFalse(err error) bool {
	for _, falsity := range []error{layout.ErrInvalid, layout.ErrDigest, fill.ErrDigest, unixfs.ErrMismatch, unixfs.ErrTooLarge, errContent} {
		if errors.Is(err, falsity) {
			return true
		}
	}
	return false
}

// errContent marks errors in content that gateways proved to be at the address.
var errContent = errors.New("the content at this address is not as it should be")
