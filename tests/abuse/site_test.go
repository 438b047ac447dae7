package abuse

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/usage"
)

// Memory limits of Caddy, as on a machine with 512 MiB. Go's heap gets a part of it.
const (
	hardLimit = 512 << 20
	goLimit   = 360 << 20

	maxSize = 100 << 20 // of a cache
)

// A site is a Caddy under a memory limit.
type site struct {
	*harness.Operated
	store string // directory; empty where there is none
}

// newSite starts a Caddy that asks these gateways.
func newSite(t *testing.T, store bool, options string, gateways ...string) *site {
	t.Helper()
	s := &site{}
	if store {
		s.store = t.TempDir()
		options += fmt.Sprintf("\nstore %s {\n max_size %d\n}", s.store, maxSize)
	}
	directive := fmt.Sprintf("ipfs_registry %s {\n%s\n}", strings.Join(gateways, " "), options)
	s.Operated = harness.NewOperatedBy(t, directive, limited(t))
	return s
}

// limited returns a function that makes commands with a hard limit of memory: by a control
// group of this test or of systemd, or else by a limit on writable memory. A limit on
// addresses would not do, since Go reserves far more of them than it uses.
func limited(t *testing.T) func(string, ...string) *exec.Cmd {
	t.Helper()
	wrapper := []string{"prlimit", fmt.Sprintf("--data=%d", hardLimit+goLimit)}
	if join := controlGroup(t); join != nil {
		wrapper = join
	} else if _, err := os.Stat("/run/systemd/system"); err == nil && os.Geteuid() == 0 {
		wrapper = []string{"systemd-run", "--scope", "--quiet", fmt.Sprintf("--property=MemoryMax=%d", hardLimit), "--property=MemorySwapMax=0"}
	}
	return func(name string, args ...string) *exec.Cmd {
		all := append(append(wrapper[:len(wrapper):len(wrapper)], name), args...)
		cmd := exec.Command(all[0], all[1:]...)
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", goLimit))
		return cmd
	}
}

// controlGroup makes a control group with the hard limit, and returns the beginning of
// a command that joins it, or nil where no group can be made.
func controlGroup(t *testing.T) []string {
	t.Helper()
	for _, version := range []struct{ parent, limit string }{
		{"/sys/fs/cgroup", "memory.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		dir := filepath.Join(version.parent, fmt.Sprintf("abuse-%d-%d", os.Getpid(), harness.FreePort(t)))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		if os.WriteFile(filepath.Join(dir, version.limit), []byte(strconv.Itoa(hardLimit)), 0o644) == nil {
			return []string{"sh", "-ec", `echo $$ >"$0/cgroup.procs"; exec "$@"`, dir}
		}
	}
	return nil
}

// settle waits until no request is being answered. It does not wait for requests that go on
// after their clients have disconnected, since these are part of an attack.
func (s *site) settle(t *testing.T) {
	t.Helper()
	late := time.After(500 * time.Millisecond)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for strings.Contains(s.Ask(t, "GET", "/debug/pprof/goroutine?debug=1").Text, "caddymodule.(*Handler).ServeHTTP") {
		select {
		case <-tick.C:
		case <-late:
			return
		}
	}
}

func (s *site) pid() int { return s.Cmd.Process.Pid }

// cpu returns the seconds of processor time so far.
func (s *site) cpu(t *testing.T) float64 {
	t.Helper()
	seconds, err := usage.CPUSeconds(s.pid())
	if err != nil {
		t.Fatal(err)
	}
	return seconds
}

// forgetPeak makes peak forget what was before.
func (s *site) forgetPeak(t *testing.T) {
	harness.WriteFile(t, fmt.Sprintf("/proc/%d/clear_refs", s.pid()), "5")
}

// peak returns the most bytes of memory since forgetPeak, files that are mapped
// included.
func (s *site) peak(t *testing.T) int64 {
	t.Helper()
	most, err := usage.Memory(s.pid(), "VmHWM")
	if err != nil {
		t.Fatal(err)
	}
	return most
}

// heap returns how many bytes Go's heap and stacks take after a collection.
func (s *site) heap(t *testing.T) (n int64) {
	t.Helper()
	profile := s.Ask(t, "GET", "/debug/pprof/heap?gc=1&debug=1").Text
	for _, field := range []string{"HeapInuse", "Stack"} {
		_, line, found := strings.Cut(profile, "\n# "+field+" = ")
		value, _, _ := strings.Cut(line, "\n")
		value, _, _ = strings.Cut(value, " / ")
		bytes, err := strconv.ParseInt(value, 10, 64)
		if !found || err != nil {
			t.Fatalf("no %s in the profile: %v", field, err)
		}
		n += bytes
	}
	return n
}

// disk returns the bytes that the cache takes: those of files that are deleted and
// still open, too. Each file counts once, wherever it goes meanwhile.
func (s *site) disk() (n int64) {
	if s.store == "" {
		return 0
	}
	seen := map[uint64]bool{}
	count := func(info fs.FileInfo, err error) {
		if err != nil || !info.Mode().IsRegular() {
			return
		}
		if stat := info.Sys().(*syscall.Stat_t); !seen[stat.Ino] {
			seen[stat.Ino] = true
			n += stat.Blocks * 512
		}
	}
	filepath.WalkDir(s.store, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			count(d.Info())
		}
		return nil
	})
	open := fmt.Sprintf("/proc/%d/fd/", s.pid())
	entries, _ := os.ReadDir(open)
	for _, e := range entries {
		name, err := os.Readlink(open + e.Name())
		if err == nil && strings.HasPrefix(name, s.store) && strings.HasSuffix(name, " (deleted)") {
			count(os.Stat(open + e.Name()))
		}
	}
	return n
}
