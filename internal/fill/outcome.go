package fill

import (
	"context"
	"errors"
)

// An Outcome is what became of a fill that wrote a file.
type Outcome struct {
	Result  Result
	Fetched int64 // bytes that gateways gave
	Copied  int64 // bytes from other blobs
}

// A Result is how a fill ended.
type Result string

// How fills end.
const (
	Kept        Result = "kept"
	FalseDigest Result = "false_digest" // the publisher's
	GivenUp     Result = "given_up"     // nobody wanted it any more
	Unwritten   Result = "unwritten"    // there was no room for it, or the cache cannot be written
	Failed      Result = "failed"       // no gateway could go on
)

// Results are all of them.
var Results = []Result{Kept, FalseDigest, GivenUp, Unwritten, Failed}

// tell says what became of a fill, when that is over.
func (fl *fill) tell(err error) {
	if fl.partial == nil || fl.filler.config.Ended == nil {
		return
	}
	o := Outcome{Result: Unwritten, Fetched: fl.fetched.Load(), Copied: fl.copied.Load()}
	_, passed := errors.AsType[passedBy](err)
	switch {
	case err == nil && fl.kept:
		o.Result = Kept
	case errors.Is(err, ErrDigest):
		o.Result = FalseDigest
	case errors.Is(err, context.Canceled):
		o.Result = GivenUp
	case err != nil && !passed:
		o.Result = Failed
	}
	fl.filler.config.Ended(o)
}
