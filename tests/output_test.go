package tests

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What --json prints, scripts rely on.
func TestJSON(t *testing.T) {
	t.Parallel()
	img := testImage(t)
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
		stdout := run(t, converter(t, img.archive, "--json", "--store="+store))
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		if got.NewBytes == nil || got.ReusedBytes == nil || len(got.Images) != 1 || len(got.CIDs) != 5 {
			t.Fatalf("it prints %s", stdout)
		}
		one := got.Images[0]
		if root(t, one.Reference) != got.Root || one.Name != imageName || one.Tag != "v1" || one.Digest == "" ||
			one.Size < got.Bytes || got.StoredIn != store {
			t.Errorf("it prints %s", stdout)
		}
		if *got.NewBytes+*got.ReusedBytes != got.Bytes || again != (*got.NewBytes == 0) {
			t.Errorf("converted again %v, %d of %d bytes are new", again, *got.NewBytes, got.Bytes)
		}
	}
}

// On a terminal there are bars, and in the end what there is without one.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	needs(t, "script", "bin/converter")
	img := testImage(t)
	store, log := t.TempDir(), filepath.Join(t.TempDir(), "terminal")
	command := "stty cols 100 rows 30; " + inRepo("bin/converter") + " -i " + img.archive + " --store " + store
	run(t, exec.Command("script", "--quiet", "--return", "--command", command, log))
	said := readFile(t, log)
	if !strings.Contains(said, "█") || !strings.Contains(said, "stored in "+store) || !strings.Contains(said, "/"+imageName) {
		t.Errorf("on the terminal is %q", said)
	}
}

// Whoever interrupts a conversion is obeyed, whatever it waits for, and nothing
// is left of it.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	needs(t, "bin/converter")
	store := filepath.Join(t.TempDir(), "store")
	stdin, never, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer never.Close()
	cmd := exec.Command(inRepo("bin/converter"), "--store="+store)
	cmd.Stdin = stdin
	d := startDaemon(t, "converter", cmd)
	stdin.Close()
	if _, err := io.WriteString(never, "blobs/"); err != nil {
		t.Fatal(err)
	}
	d.await(t, "a store", func() bool {
		_, err := os.Stat(filepath.Join(store, "tmp"))
		return err == nil
	})
	d.stop()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(d.log.String(), "interrupt") {
		t.Errorf("it ends with %s, saying %q", cmd.ProcessState, d.log)
	}
	if _, err := os.Stat(store); err == nil {
		t.Errorf("left behind are %v", names(t, store))
	}
}
