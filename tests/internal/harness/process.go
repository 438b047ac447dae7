package harness

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How long programs may take. On two idle cores all take seconds, except builds of
// Caddy with nothing in Go's caches.
const (
	Patience      = 10 * time.Minute // for one command or request
	readyPatience = 5 * time.Minute  // until a daemon is ready, or shows what a test waits for
	stopPatience  = time.Minute      // until a daemon has ended, before it is killed
	buildPatience = 30 * time.Minute
)

// Run runs a program to its end and returns its standard output. If the program fails,
// the test fails with all of its output.
func Run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, err := Try(cmd)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout, stderr)
	}
	return stdout
}

// Build runs a program that builds Caddy to its end. Builds run one after the other,
// so that each finds in Go's cache what an earlier one compiled.
func Build(t *testing.T, cmd *exec.Cmd) (stdout string) {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	stdout, stderr, err := tryFor(cmd, buildPatience)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout, stderr)
	}
	return stdout
}

var building sync.Mutex

// Try runs a program to its end, and kills it when it exceeds Patience.
func Try(cmd *exec.Cmd) (stdout, stderr string, err error) { return tryFor(cmd, Patience) }

func tryFor(cmd *exec.Cmd, patience time.Duration) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = EndsWithUs()
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	var late atomic.Bool
	defer time.AfterFunc(patience, func() {
		late.Store(true)
		cmd.Process.Kill()
	}).Stop()
	if err = cmd.Wait(); late.Load() {
		err = fmt.Errorf("killed after %v: %w", patience, err)
	}
	return out.String(), errs.String(), err
}

// A Daemon is a program that runs during a test.
type Daemon struct {
	name       string
	Cmd        *exec.Cmd
	Log        *Log
	Ended      chan struct{}
	StopSignal os.Signal
}

// StartDaemon starts a program, and stops it at the end of the test.
func StartDaemon(t *testing.T, name string, cmd *exec.Cmd) *Daemon {
	t.Helper()
	d := &Daemon{name: name, Cmd: cmd, Log: new(Log), Ended: make(chan struct{}), StopSignal: os.Interrupt}
	cmd.Stdout, cmd.Stderr = d.Log, d.Log
	cmd.SysProcAttr = EndsWithUs()
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		// Wait returns when the log's last writer has closed it, so the programs that
		// the daemon started have ended as well.
		cmd.Wait()
		close(d.Ended)
	}()
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			t.Logf("the last output of %s:\n%s", d.name, d.Log.tail(4000))
		}
	})
	return d
}

// Await waits until ready returns true. It fails the test if the daemon ends first, or
// after five minutes.
func (d *Daemon) Await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	late := time.After(readyPatience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-d.Ended:
			t.Fatalf("%s ended while the test waited for %s:\n%s", d.name, what, d.Log)
		case <-late:
			t.Fatalf("%s: the test waited %v for %s:\n%s", d.name, readyPatience, what, d.Log)
		}
	}
}

// AwaitStart starts a daemon and waits for a text in its log. Docker's daemon gives its
// containerd fifteen seconds and then ends, which a busy machine may exceed. So a daemon
// that ends before it is ready is started twice more.
func AwaitStart(t *testing.T, ready string, start func() *Daemon) *Daemon {
	t.Helper()
	for range 2 {
		d := start()
		if d.says(t, ready) {
			return d
		}
		t.Logf("%s ended before %q, and is started again:\n%s", d.name, ready, d.Log.tail(1000))
	}
	d := start()
	d.AwaitLine(t, ready)
	return d
}

// says waits for a text in the daemon's log, and reports false if the daemon ends first.
func (d *Daemon) says(t *testing.T, text string) bool {
	t.Helper()
	late := time.After(readyPatience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(d.Log.String(), text) {
		select {
		case <-tick.C:
		case <-d.Ended:
			return false
		case <-late:
			t.Fatalf("%s: the test waited %v for %q:\n%s", d.name, readyPatience, text, d.Log)
		}
	}
	return true
}

// AwaitLine waits for a text in the daemon's log.
func (d *Daemon) AwaitLine(t *testing.T, text string) {
	t.Helper()
	d.Await(t, fmt.Sprintf("%q", text), func() bool { return strings.Contains(d.Log.String(), text) })
}

// Stopped reports whether the daemon has ended.
func (d *Daemon) Stopped() bool {
	select {
	case <-d.Ended:
		return true
	default:
		return false
	}
}

// Stop sends the daemon its StopSignal, and kills it if it has not ended a minute
// later.
func (d *Daemon) Stop() {
	d.Cmd.Process.Signal(d.StopSignal)
	select {
	case <-d.Ended:
		return
	case <-time.After(stopPatience):
	}
	d.Cmd.Process.Kill()
	<-d.Ended
}

// A Log collects the output of a daemon.
type Log struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.String()
}

func (l *Log) tail(n int) string {
	said := l.String()
	return said[max(0, len(said)-n):]
}

// FreePort returns a TCP port of 127.0.0.1 on which nothing listens, a different one
// for each call. It is below the ports that Linux assigns to outgoing connections
// (32768 and above), so no connection takes it before a program listens on it.
func FreePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 16384 + rand.IntN(16384)
		if _, taken := ports.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free TCP port between 16384 and 32767")
	return 0
}

var ports sync.Map // that FreePort has tried

// WithInput opens a file as a command's standard input.
func WithInput(t *testing.T, cmd *exec.Cmd, name string) *exec.Cmd {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	cmd.Stdin = file
	return cmd
}
