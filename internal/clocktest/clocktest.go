// Package clocktest moves the clock of a test that runs in a bubble of
// testing/synctest.
package clocktest

import (
	"testing/synctest"
	"time"
)

// Advance moves the bubble's clock on by d, and returns when all goroutines are blocked
// again. It takes no real time. Only one goroutine of a bubble may call it at a time.
func Advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
