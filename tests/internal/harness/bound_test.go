package harness

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// hangs is set in the environment of a copy of this package's tests that is to hang.
const hangs = "HARNESS_TEST_HANGS"

func TestHang(t *testing.T) {
	if os.Getenv(hangs) == "" {
		return // it is for TestHangNamesItself
	}
	ParallelFor(t, 50*time.Millisecond)
	t.Run("passes", func(t *testing.T) {
		ParallelFor(t, time.Minute)
		<-time.After(200 * time.Millisecond) // longer than the parent's bound
	})
	t.Run("hangs", func(t *testing.T) {
		ParallelFor(t, 300*time.Millisecond)
		select {}
	})
}

func TestHangNamesItself(t *testing.T) {
	copied := exec.Command(os.Args[0], "-test.run=^TestHang$", "-test.timeout=1m")
	copied.Env = append(os.Environ(), hangs+"=1")
	said, err := copied.CombinedOutput()
	if err == nil || copied.ProcessState.ExitCode() != 2 {
		t.Errorf("a test that hangs ends with %v", err)
	}
	for _, want := range []string{"--- FAIL: TestHang/hangs: it ran for 300ms", "harness.TestHang.func"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("a test that hangs says nothing of %q:\n%s", want, said)
		}
	}
}
