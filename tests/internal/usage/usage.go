// Package usage reads what another process uses, from Linux's /proc.
package usage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// CPUSeconds returns the processor time that a process has taken so far.
func CPUSeconds(pid int) (float64, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	stat, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	// See proc(5): the field after the name, which ends with ")", is the third.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s has %d fields", name, len(fields))
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	const ticks = 100 // a second, on every Linux
	return (user + system) / ticks, nil
}

// Written returns how many bytes a process has written so far. The figure is "wchar", for files
// and connections, or "write_bytes", for whole blocks on disks.
func Written(pid int, figure string) (int64, error) {
	name := fmt.Sprintf("/proc/%d/io", pid)
	content, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut("\n"+string(content), "\n"+figure+": ")
	line, _, _ = strings.Cut(line, "\n")
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has no %s: %w", name, figure, err)
	}
	return n, nil
}

// Memory returns a figure of a process's memory in bytes: "VmRSS", what it has now, or
// "VmHWM", the most that it had.
func Memory(pid int, figure string) (int64, error) {
	name := fmt.Sprintf("/proc/%d/status", pid)
	status, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut(string(status), figure+":")
	line, _, _ = strings.Cut(line, " kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has no %s: %w", name, figure, err)
	}
	return kib << 10, nil
}
