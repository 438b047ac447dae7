package convert

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A hang-up ends a conversion, unless nohup runs it.
func TestHangUpEndsConversionUnlessIgnored(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	archive, err := os.ReadFile(harness.ArchiveOfLayers(t, "app:v1", harness.Noise(6<<20)))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		before []string
		ends   bool
	}{{nil, true}, {[]string{"nohup"}, false}} {
		args := append(test.before, harness.InRepo("bin/converter"), "--store="+t.TempDir())
		cmd := exec.Command(args[0], args[1:]...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &said, &said, harness.EndsWithUs()
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// More than a pipe holds, so the converter has begun to read.
		if _, err := stdin.Write(archive[:1<<20]); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if !test.ends {
			stdin.Write(archive[1<<20:])
			stdin.Close()
		}
		if err := cmd.Wait(); (err != nil) != test.ends || strings.Contains(said.String(), "/app") == test.ends {
			t.Errorf("%q: %v\n%s", test.before, err, said.String())
		}
	}
}
