package budget

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// The limits between which DefaultLimit is, in bytes. The upper one serves hundreds of
// large blobs at once, and the garbage collector may need as much again.
const (
	leastLimit = 16 << 20
	mostLimit  = 128 << 20
)

// DefaultLimit returns the limit of Process if the operator sets none: an eighth of
// Memory, at least 16 MiB and at most 128 MiB. On a machine of 512 MiB that is 64 MiB.
func DefaultLimit() int64 { return min(max(leastLimit, Memory()/8), mostLimit) }

// Memory returns how many bytes of memory this process may use: the least of
// GOMEMLIMIT, the limits of its control groups, and the memory of the machine. If none
// of them is known, that is 1 GiB.
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

// machine returns how many bytes of memory the machine has, or 0 if that is not known.
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

// groups returns the limits of the control groups (versions 1 and 2) that the process
// is in, and of those above them, which bound it as well. A group without a limit says
// "max" and is left out.
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
			if n, ok := readLimit(filepath.Join(root, dir, file)); ok {
				limits = append(limits, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return limits
}

func readLimit(path string) (bytes int64, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil
}
