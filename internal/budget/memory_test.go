package budget

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
)

func TestMemoryIsBoundedByControlGroupsAndThoseAbove(t *testing.T) {
	dir := t.TempDir()
	write := func(content string, path ...string) string {
		t.Helper()
		name := filepath.Join(append([]string{dir}, path...)...)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("max\n", "fs", "system.slice", "caddy.service", "memory.max")
	write("536870912\n", "fs", "system.slice", "memory.max")
	write("1073741824\n", "fs", "memory", "docker", "memory.limit_in_bytes")
	self := write("4:cpu,memory:/docker\n1:name=systemd:/\n0::/system.slice/caddy.service\n", "cgroup")
	got := groups(self, filepath.Join(dir, "fs"))
	slices.Sort(got)
	if !slices.Equal(got, []int64{512 << 20, 1 << 30}) {
		t.Errorf("the limits are %d", got)
	}
	if n := machine(write("MemTotal:       2048 kB\nMemFree: 1 kB\n", "meminfo")); n != 2<<20 {
		t.Errorf("the machine has %d bytes", n)
	}
}

func TestDefaultLimitFollowsGOMEMLIMIT(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for memory, want := range map[int64]int64{64 << 20: leastLimit, 512 << 20: 64 << 20} {
		debug.SetMemoryLimit(memory)
		if got := DefaultLimit(); got != want {
			t.Errorf("with %d bytes of memory, the limit is %d and should be %d", memory, got, want)
		}
	}
	debug.SetMemoryLimit(1 << 50)
	if got := DefaultLimit(); got > mostLimit {
		t.Errorf("the limit is %d", got)
	}
}
