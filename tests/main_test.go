// Package tests has the end-to-end tests: real programs, from the outside.
// Docker builds an image and saves it, the converter puts it into a store or
// onto a real IPFS node, and Docker, podman, skopeo, containerd and crane pull
// it from Caddy and must get the very same.
//
//	make test   builds the programs, fetches what tests need, runs every test
//	make e2e    the same, with the tests of this package alone
//
// Every test starts what it needs, on free ports and in folders of its own, and
// ends it. Docker daemons and containerd run in namespaces of their own, so
// that nothing of them is seen outside: no mount, no socket in /run, no process
// left behind.
package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// workDir is where what all tests share is kept while they run.
var workDir string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	// The converter would take this for where to put images.
	os.Unsetenv("IPFS_API")
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	workDir = dir
	defer os.RemoveAll(workDir)
	return m.Run()
}

// needs ends a test that lacks something that it can't do without. A thing is a
// program, "bin/…" of this checkout, "root", or "trixie", the Debian that
// setup.sh makes. The test is skipped, with a line that says why; where CI is
// true it fails, since there all has to run.
func needs(t *testing.T, things ...string) {
	t.Helper()
	for _, thing := range things {
		why := lacking(thing)
		if why == "" {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
}

// lacking says why a thing can't be used here; nothing, if it can.
func lacking(thing string) string {
	switch {
	case thing == "root":
		if os.Geteuid() != 0 {
			return "not root, and Docker's daemon takes root"
		}
	case thing == "trixie":
		if _, err := os.Stat(trixieRoot()); err != nil {
			return "no Debian trixie: tests/setup.sh makes one, on Debian as root"
		}
	case strings.HasPrefix(thing, "bin/"):
		if _, err := os.Stat(inRepo(thing)); err != nil {
			return "no " + thing + ": make builds it"
		}
	default:
		if _, err := exec.LookPath(thing); err != nil {
			return "no " + thing + ": tests/setup.sh installs it, on Debian as root"
		}
	}
	return ""
}

// inRepo is the path of something in this checkout.
func inRepo(path string) string {
	root, err := filepath.Abs("..")
	if err != nil {
		panic(err) // the working directory is gone
	}
	return filepath.Join(root, path)
}
