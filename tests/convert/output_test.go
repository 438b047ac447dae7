package convert

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The output of --json has every field that scripts rely on.
func TestJSONOutputIsComplete(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	store := t.TempDir()
	for _, again := range []bool{false, true} {
		var got struct {
			Root        string
			CIDs        []string
			StoredIn    string
			Bytes       int64
			NewBytes    *int64
			ReusedBytes *int64
			Images      []struct {
				Reference, Name, Tag, MediaType, Digest string
				Size                                    int64
			}
		}
		stdout := harness.Run(t, harness.Converter(t, img.Archive, "--json", "--store="+store))
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		if got.NewBytes == nil || got.ReusedBytes == nil || len(got.Images) != 1 || len(got.CIDs) != 5 {
			t.Fatalf("--json prints %s", stdout)
		}
		one := got.Images[0]
		if harness.RootOf(t, one.Reference) != got.Root || one.Name != harness.ImageName || one.Tag != "v1" || one.Digest == "" ||
			one.Size < got.Bytes || got.StoredIn != store {
			t.Errorf("--json prints %s", stdout)
		}
		if *got.NewBytes+*got.ReusedBytes != got.Bytes || again != (*got.NewBytes == 0) {
			t.Errorf("converted before: %v, yet %d of %d bytes are new", again, *got.NewBytes, got.Bytes)
		}
	}
}

// On a terminal the converter shows progress bars, and the same final lines as in a
// pipe.
func TestTerminalShowsProgressBars(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "script", "bin/converter")
	img := harness.DockerImage(t)
	store, log := t.TempDir(), filepath.Join(t.TempDir(), "terminal")
	command := "stty cols 100 rows 30; " + harness.InRepo("bin/converter") + " -i " + img.Archive + " --store " + store
	harness.Run(t, exec.Command("script", "--quiet", "--return", "--command", command, log))
	said := harness.ReadFile(t, log)
	if !strings.Contains(said, "█") || !strings.Contains(said, "stored in "+store) || !strings.Contains(said, "/"+harness.ImageName) {
		t.Errorf("the terminal shows %q", said)
	}
}

// An interrupt ends a conversion that waits for input, and leaves nothing behind.
func TestInterruptEndsConversionAndLeavesNothing(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	store := filepath.Join(t.TempDir(), "store")
	stdin, never, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer never.Close()
	cmd := exec.Command(harness.InRepo("bin/converter"), "--store="+store)
	cmd.Stdin = stdin
	d := harness.StartDaemon(t, "converter", cmd)
	stdin.Close()
	if _, err := io.WriteString(never, "blobs/"); err != nil {
		t.Fatal(err)
	}
	d.Await(t, "the store's tmp", func() bool {
		_, err := os.Stat(filepath.Join(store, "tmp"))
		return err == nil
	})
	d.Stop()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(d.Log.String(), "interrupt") {
		t.Errorf("the converter ends with %s and prints %q", cmd.ProcessState, d.Log)
	}
	if _, err := os.Stat(store); err == nil {
		t.Errorf("the converter left %v", names(t, store))
	}
}
