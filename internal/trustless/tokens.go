package trustless

import (
	"sync"
	"time"
)

// Writing a block to disk costs up to a millisecond of processor time, and a stranger can
// publish a directory or a manifest of thousands of blocks. So a client writes this many
// at once, and then this many a second. Other blocks are remembered in memory only.
const (
	writesAtOnce    = 1024
	writesPerSecond = 256
)

// tokens count the writes that a client may make. The zero value has writesAtOnce.
type tokens struct {
	mu    sync.Mutex
	spent float64
	last  time.Time
}

// take takes a token, and reports whether there was one.
func (t *tokens) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.spent = max(0, t.spent-now.Sub(t.last).Seconds()*writesPerSecond)
	t.last = now
	if t.spent+1 > writesAtOnce {
		return false
	}
	t.spent++
	return true
}
