package harness

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// CPUSeconds returns the processor time that a process has taken so far.
func CPUSeconds(t *testing.T, pid int) float64 {
	t.Helper()
	stat := ReadFile(t, fmt.Sprintf("/proc/%d/stat", pid))
	// proc(5): what follows the name is the third field.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	ticks := 0.0
	for _, field := range fields[11:13] { // user and system
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100 // a second has so many, on every Linux
}

// MemoryOf returns a figure of a process's memory in bytes: VmRSS, what it has now, or
// VmHWM, the most that it had.
func MemoryOf(t *testing.T, pid int, name string) int64 {
	t.Helper()
	_, line, found := strings.Cut(ReadFile(t, fmt.Sprintf("/proc/%d/status", pid)), name+":")
	line, _, _ = strings.Cut(line, " kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if !found || err != nil {
		t.Fatalf("process %d says nothing of %s: %v", pid, name, err)
	}
	return kib << 10
}
