// Package harness runs the real programs that the end-to-end tests work with:
// our own two, Kubo, Docker, podman, containerd and the other clients.
//
// Every test starts the programs that it needs, on free ports and in directories
// of its own, and ends them. Docker daemons and containerd run in namespaces of
// their own, so that they leave no mount, no socket in /run and no process behind.
package harness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/citest"
)

// workDir holds what all tests of a package share.
var workDir string

// Main runs the tests of a package, whose TestMain calls it, and returns the exit
// code. With -short it runs none of them, since all of them need real programs.
func Main(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		fmt.Println("end-to-end tests do not run with -short")
		return 0
	}
	restoreSignals()
	os.Unsetenv("IPFS_API") // the converter would put images there
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	workDir = dir
	defer os.RemoveAll(workDir)
	return m.Run()
}

// restoreSignals lets programs that tests start be hung up and interrupted. Where the
// tests run under nohup, or in the background of a script, these signals are ignored,
// and a child inherits that; a signal that is caught here has its default action
// there. The tests themselves go on ignoring them.
func restoreSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, os.Interrupt} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// Need skips a test that lacks one of the things that it needs, with the reason. A
// thing is a program, a file in bin/ of this checkout, "root", or "trixie", the Debian
// that tests/setup.sh makes. Where CI is true, the test fails instead.
func Need(t *testing.T, things ...string) {
	t.Helper()
	for _, thing := range things {
		why := lacking(thing)
		if why == "" {
			continue
		}
		citest.Skip(t, why)
	}
}

// lacking returns why a thing cannot be used here, or nothing if it can.
func lacking(thing string) string {
	switch {
	case thing == "root":
		if os.Geteuid() != 0 {
			return "not root, which Docker's daemon needs"
		}
	case thing == "trixie":
		if _, err := os.Stat(TrixieRoot()); err != nil {
			return "no Debian trixie: tests/setup.sh makes one, on Debian as root"
		}
	case strings.HasPrefix(thing, "bin/"):
		if _, err := os.Stat(InRepo(thing)); err != nil {
			return "no " + thing + ": make builds it"
		}
	default:
		if _, err := exec.LookPath(thing); err != nil {
			return "no " + thing + ": tests/setup.sh installs it, on Debian as root"
		}
	}
	return ""
}

// InRepo returns the absolute path of a file in this checkout.
func InRepo(path string) string {
	root, err := filepath.Abs("../..") // from tests/<subject>
	if err != nil {
		panic(err) // the working directory is gone
	}
	return filepath.Join(root, path)
}
