package harness

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// hangs is a variable that TestHangNamesItself sets for the copy of this program that
// it runs.
const hangs = "HARNESS_TEST_HANGS"

// TestHang hangs in the program that TestHangNamesItself runs, and only there. Its own
// bound ends while its subtests still run, and must not count.
func TestHang(t *testing.T) {
	if os.Getenv(hangs) == "" {
		return
	}
	ParallelFor(t, time.Second)
	t.Run("hangs", func(t *testing.T) {
		ParallelFor(t, 3*time.Second)
		select {}
	})
}

func TestHangNamesItself(t *testing.T) {
	hanging := exec.Command(os.Args[0], "-test.run=^TestHang$", "-test.timeout=10m")
	hanging.Env = append(os.Environ(), hangs+"=1")
	output, err := hanging.CombinedOutput()
	if err == nil || hanging.ProcessState.ExitCode() != 2 {
		t.Errorf("the program ended with %v, want exit status 2", err)
	}
	for _, want := range []string{"--- FAIL: TestHang/hangs: still running after its bound of 3s", "harness.TestHang.func"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
}
