package abuse

import (
	"slices"
	"time"
)

// An attack is a request for content that a publisher made hostile, or the answer of a
// hostile gateway.
type attack struct {
	finding string // the number of the finding, with a letter for another of its kind
	sent    string // what it is, for the table
	store   bool   // whether the registry has a cache
	slow    bool   // whether it takes long to prepare or to do, even once
	options string // more lines of the directive

	// How the bars of this attack differ from those of all attacks.
	large      bool // the registry must read much to answer, so the factor is no bar
	remembered bool // the whole crowd costs gateways no more than one request does
	keeps      bool // blobs that another client used stay in the cache

	// prepare makes the hostile content, and returns the requests of one client. One
	// client makes them once, and then all clients make them again and again.
	prepare func(*arena) func(*stranger)
}

// attacks are all attacks.
var attacks = slices.Concat(directoryAttacks, fileAttacks, tableAttacks, cacheAttacks, absenceAttacks, gatewayAttacks)

// crowd is how many clients attack at once, and singleTime is how long one of them takes at
// most when it is alone.
const (
	crowd      = 64
	singleTime = 8 * time.Second
)

// The bars that hold for one request.
const (
	maxDisk = maxSize + maxSize/10

	// Bytes that one request may cost gateways. The registry requests whole blocks, and
	// sockets buffer bytes that no one reads, so alwaysAsked is allowed in any case.
	maxAsked    = 64 << 20
	maxRatio    = 200
	alwaysAsked = 8 << 20
)

// mayAsk returns how many bytes one request may make the registry ask of gateways, if
// so many were sent.
func (a attack) mayAsk(sent int64) int64 {
	if a.large {
		return maxAsked
	}
	return max(min(maxAsked, maxRatio*sent), alwaysAsked)
}
