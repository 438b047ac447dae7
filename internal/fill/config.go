package fill

import (
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// Grace is how long a fill continues without readers.
const Grace = 30 * time.Second

// Patience is how long a reader waits for another process's fill that makes no
// progress.
const Patience = 5 * time.Second

// GraceBytes is how many bytes all fills without readers may fetch together. If the
// readers of a fill wanted only parts of the blob, it fetches at most graceFactor times
// the bytes that they got.
const (
	GraceBytes  = 64 << 20
	graceFactor = 200
)

// A Config says how a Filler fills. Its zero value has the defaults.
type Config struct {
	// Grace is how long a fill continues without readers, and GraceBytes is how many bytes
	// all such fills may fetch together. Default: Grace and GraceBytes.
	Grace      time.Duration
	GraceBytes int64

	// Budget is what the leaf tables of all fills are taken from, half of it at most.
	// A blob whose table does not fit passes by the cache. Default: budget.Process.
	Budget *budget.Budget

	// Patience is how long a reader waits for another process's fill that makes no
	// progress. Default: Patience.
	Patience time.Duration

	// Ended is called when a fill that wrote a file is over, from several goroutines
	// at once. It may be nil.
	Ended func(Outcome)
}

// An Outcome says how a fill ended that wrote a file.
type Outcome struct {
	Result  Result
	Fetched int64 // bytes from gateways
	Copied  int64 // bytes from other blobs
}

// A Result is how a fill ended.
type Result string

// How fills end.
const (
	Kept        Result = "kept"
	FalseDigest Result = "false_digest" // the publisher's
	GivenUp     Result = "given_up"     // it had no readers for a while
	Unwritten   Result = "unwritten"    // there was no room, or the cache could not be written
	Failed      Result = "failed"       // no gateway could go on
)

// Results are all results.
var Results = []Result{Kept, FalseDigest, GivenUp, Unwritten, Failed}
