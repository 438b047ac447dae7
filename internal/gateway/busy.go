package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// maxRest is the longest Retry-After that is obeyed.
const maxRest = 10 * time.Minute

// A BusyError is an answer of status 429 or 503 with a Retry-After header. The gateway
// is not asked before that time.
type BusyError struct {
	Status int
	Until  time.Time
}

func (e BusyError) Error() string {
	return fmt.Sprintf("%d %s, not to be asked before %s", e.Status, http.StatusText(e.Status), e.Until.UTC().Format(time.RFC3339))
}

// busyUntil returns the BusyError that an answer means, if it means one. Retry-After is
// a number of seconds or a date (RFC 9110, section 10.2.3).
func busyUntil(resp *http.Response, now time.Time) (BusyError, bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return BusyError{}, false
	}
	header := resp.Header.Get("Retry-After")
	until, err := http.ParseTime(header)
	if seconds, notSeconds := strconv.ParseUint(header, 10, 63); notSeconds == nil {
		until, err = now.Add(time.Duration(min(seconds, uint64(maxRest/time.Second)))*time.Second), nil
	}
	if err != nil || !until.After(now) {
		return BusyError{}, false
	}
	if latest := now.Add(maxRest); until.After(latest) {
		until = latest
	}
	return BusyError{resp.StatusCode, until}, true
}

// A rest is the last BusyError of a gateway.
type rest struct{ last atomic.Pointer[BusyError] }

func (r *rest) begin(e BusyError) { r.last.Store(&e) }

// until returns the last BusyError while it is to be obeyed.
func (r *rest) until(now time.Time) (BusyError, bool) {
	e := r.last.Load()
	if e == nil || !now.Before(e.Until) {
		return BusyError{}, false
	}
	return *e, true
}

// maxRefusals is the number of different paths in a row after which a gateway counts
// as one that refuses everything. For fewer paths it may have its reasons.
const maxRefusals = 3

// refusals counts the answers by which a gateway serves this registry nothing: because
// of credentials, rate limits, or a failure behind it.
type refusals struct {
	mu    sync.Mutex
	paths int // in a row
	last  string
}

// isRefusal reports whether a status says nothing about the requested content.
func isRefusal(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusTooManyRequests:
		return true
	}
	return status >= 500 && status != http.StatusNotImplemented
}

// note counts an answer. An answer that is not a refusal ends the row.
func (r *refusals) note(path string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !isRefusal(status):
		r.paths, r.last = 0, ""
	case path != r.last:
		r.paths, r.last = r.paths+1, path
	}
}

// ofAll reports whether the gateway seems to refuse everything.
func (r *refusals) ofAll() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paths >= maxRefusals
}
