package harness

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The bounds of tests. They are there so that a test that hangs names itself, and are
// not to be met by a machine that is merely busy: most tests take seconds on two idle
// cores, and the longest takes minutes.
const (
	bound = 15 * time.Minute

	// BuildBound is for a test that builds Caddy, maybe with nothing in Go's caches.
	BuildBound = 50 * time.Minute
)

// Parallel is t.Parallel for a test that must not run for longer than a quarter of an
// hour. See ParallelFor.
func Parallel(t *testing.T) {
	t.Helper()
	ParallelFor(t, bound)
}

// ParallelFor is t.Parallel for a test that must not run for longer than limit. The
// time in which the test waits for other tests does not count. A test whose subtests
// have bounds of their own is not stopped before the last of these has ended.
//
// A test that exceeds its bound ends its whole package, with the test's name and the
// stacks of all goroutines.
func ParallelFor(t *testing.T, limit time.Duration) {
	t.Helper()
	name := t.Name()
	bounded.Store(name, true)
	t.Cleanup(func() { bounded.Delete(name) })
	t.Parallel()
	var timer *time.Timer
	var mu sync.Mutex // for timer, which may fire before it is assigned
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		if hasBoundedSubtest(name) {
			timer.Reset(limit)
			return
		}
		stopOverdue(name, limit)
	})
	t.Cleanup(func() { timer.Stop() })
}

var bounded sync.Map // the names of tests that have a bound and have not ended

func hasBoundedSubtest(name string) (found bool) {
	bounded.Range(func(other, _ any) bool {
		found = strings.HasPrefix(other.(string), name+"/")
		return !found
	})
	return found
}

// stopOverdue ends this program, and Linux ends the programs that the tests started.
func stopOverdue(name string, limit time.Duration) {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(os.Stderr, "%s\n--- FAIL: %s: still running after its bound of %v; the stacks of all goroutines are above\n", stacks, name, limit)
	os.Exit(2)
}
