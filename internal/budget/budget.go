// Package budget bounds what strangers can make the process hold, for all of their
// requests together.
package budget

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
)

// A Budget is a number of bytes that may be held at once. Its methods may be called
// concurrently. A nil budget has no limit.
type Budget struct {
	limit int64
	held  atomic.Int64
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget { return &Budget{limit: limit} }

// Take takes n bytes, or reports that there are not as many left. What was taken must
// be given back with Give.
func (b *Budget) Take(n int64) bool {
	if b == nil {
		return true
	}
	if b.held.Add(n) > b.limit {
		b.held.Add(-n)
		return false
	}
	return true
}

// Give gives back n bytes that were taken.
func (b *Budget) Give(n int64) {
	if b != nil {
		b.held.Add(-n)
	}
}

// Held returns how many bytes are taken.
func (b *Budget) Held() int64 {
	if b == nil {
		return 0
	}
	return b.held.Load()
}

// Of returns a part of the memory that this process may use, at least 16 MiB: for
// Of(8), an eighth.
func Of(part int64) int64 { return max(16<<20, Memory()/part) }

// Memory returns how many bytes of memory this process may use: the least of
// GOMEMLIMIT, the limits of its control groups, and what the machine has. Where
// nothing says so, that is 1 GiB.
func Memory() int64 {
	least := int64(math.MaxInt64)
	for _, n := range append([]int64{debug.SetMemoryLimit(-1), machine("/proc/meminfo")}, groups("/proc/self/cgroup", "/sys/fs/cgroup")...) {
		if n > 0 {
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 1 << 30
	}
	return least
}

// machine returns how much memory the machine has, or 0 where that is not known.
func machine(meminfo string) int64 {
	data, err := os.ReadFile(meminfo)
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(data, []byte("MemTotal:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kib, err := strconv.ParseInt(strings.TrimSpace(string(line)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// groups returns the limits of the control groups that the process is in, of version
// 2 and 1. A group is bounded by those above it as well, but for "max", which is no
// number.
func groups(self, mounted string) []int64 {
	data, err := os.ReadFile(self)
	if err != nil {
		return nil
	}
	var limits []int64
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := mounted, "memory.max"
		if parts[0] != "0" {
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
			root, file = filepath.Join(mounted, "memory"), "memory.limit_in_bytes"
		}
		for dir := filepath.Clean("/" + parts[2]); ; dir = filepath.Dir(dir) {
			if data, err := os.ReadFile(filepath.Join(root, dir, file)); err == nil {
				if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil {
					limits = append(limits, n)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limits
}
