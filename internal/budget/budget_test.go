package budget

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

func TestBudgetIsNeverExceeded(t *testing.T) {
	b := New(100)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 1000 {
				if b.Take(30) {
					b.Give(30)
				}
			}
		})
	}
	all.Wait()
	if b.Held() != 0 {
		t.Errorf("%d bytes are held after all were given back", b.Held())
	}
	for i, want := range []bool{true, true, true, false} {
		if got := b.Take(30); got != want {
			t.Errorf("take %d of 30 bytes from 100: %v", i, got)
		}
	}
	if !b.Take(10) || b.Take(1) {
		t.Error("a budget of 100 bytes has 10 left, and then none")
	}
	var none *Budget
	if !none.Take(1 << 60) {
		t.Error("no budget refuses something")
	}
	none.Give(1 << 60)
}

func TestGroupsHaveLimitsOfThoseAboveThem(t *testing.T) {
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
	if n := Memory(); n <= 0 {
		t.Errorf("this process may use %d bytes", n)
	}
}
