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

// bound is how long a test may run that names no other bound. The longest takes a
// minute on two idle cores.
const bound = 5 * time.Minute

// Parallel is t.Parallel for a test that must not run for longer than five
// minutes, so that a test that hangs names itself. See ParallelFor.
func Parallel(t *testing.T) {
	t.Helper()
	ParallelFor(t, bound)
}

// ParallelFor is t.Parallel for a test that must not run for longer than limit. The
// time in which it waits for other tests does not count, nor does a test whose
// subtests have bounds of their own while one of them is left.
//
// A test that passes its bound ends its package, with its name and the stacks of all
// goroutines.
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

var bounded sync.Map // the names of the tests that run, or wait, with a bound

func hasBoundedSubtest(name string) (found bool) {
	bounded.Range(func(other, _ any) bool {
		found = strings.HasPrefix(other.(string), name+"/")
		return !found
	})
	return found
}

// stopOverdue ends the program. The programs that tests started end with it.
func stopOverdue(name string, limit time.Duration) {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(os.Stderr, "%s\n--- FAIL: %s: it ran for %v, which is its bound; the stacks of all goroutines are above\n", stacks, name, limit)
	os.Exit(2)
}
