package fill

import (
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// Patience is how long a reader waits for another process's fill that makes no
// progress.
const Patience = 5 * time.Second

// A Config says how a Filler fills. Its zero value has the defaults.
type Config struct {
	// Grace is how long a fill continues without readers, and GraceBytes is how many bytes
	// all such fills may fetch together at once. Default: Grace and GraceBytes.
	Grace      time.Duration
	GraceBytes int64

	// Tables bounds the memory that all fills take for the leaves of their blobs. A blob
	// that does not fit passes by the cache. Default: budget.Tables.
	Tables *budget.Budget

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
