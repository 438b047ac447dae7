// Package harness runs the programs that the end-to-end tests need: our own two, Kubo,
// Docker, podman, containerd and the other clients.
//
// Every test starts its programs itself, on free ports and in its own directories, and
// stops them at its end. Docker and containerd run in their own namespaces, so that no
// mount, no socket in /run and no process outlives them.
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

// workDir is for files that all tests of a package share.
var workDir string

// Main runs the tests of a package and returns the exit code, for TestMain. With
// -short, it runs no test, since all of them need real programs.
func Main(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		fmt.Println("end-to-end tests do not run with -short")
		return 0
	}
	restoreSignals()
	os.Unsetenv("IPFS_API") // or the converter would add images to that node
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	workDir = dir
	defer os.RemoveAll(workDir)
	return m.Run()
}

// restoreSignals lets the programs that tests start receive hang-ups and interrupts.
// Under nohup, or in the background of a script, these signals are ignored, and child
// processes inherit that. A signal that this process catches has its default action in
// the children. This process drops the signals that it catches, as before.
func restoreSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, os.Interrupt} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// Need skips the test, with the reason, unless this machine has all of the things. If
// CI is true, the test fails instead. A thing is a program in PATH, a file in bin/ of
// this checkout, "root", or "trixie": the Debian that tests/setup.sh makes.
func Need(t *testing.T, things ...string) {
	t.Helper()
	for _, thing := range things {
		if why := whyMissing(thing); why != "" {
			citest.Skip(t, why)
		}
	}
}

// whyMissing returns why a thing cannot be used on this machine, or "" if it can.
func whyMissing(thing string) string {
	switch {
	case thing == "root":
		if os.Geteuid() != 0 {
			return "this test needs root"
		}
	case thing == "trixie":
		if _, err := os.Stat(TrixieRoot()); err != nil {
			return "no Debian trixie: tests/setup.sh makes one, as root on Debian"
		}
	case strings.HasPrefix(thing, "bin/"):
		if _, err := os.Stat(InRepo(thing)); err != nil {
			return "no " + thing + ": make or tests/setup.sh builds it"
		}
	default:
		if _, err := exec.LookPath(thing); err != nil {
			return "no " + thing + ": tests/setup.sh installs it, as root on Debian"
		}
	}
	return ""
}

// Shared returns the path of a file that all tests of the package share. It is removed
// when they have ended.
func Shared(name string) string { return filepath.Join(workDir, name) }

// InRepo returns the absolute path of a file in this checkout. The working directory
// must be that of a test package.
func InRepo(path string) string {
	root, err := filepath.Abs("../..") // from tests/<subject>
	if err != nil {
		panic(err) // the working directory is gone
	}
	return filepath.Join(root, path)
}
