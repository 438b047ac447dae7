package harness

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a program may take for one thing. All take seconds, except
// builds of Caddy from nothing.
const Patience = 10 * time.Minute

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

// Try runs a program to its end, and kills it when it exceeds Patience.
func Try(cmd *exec.Cmd) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = EndsWithUs()
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	defer time.AfterFunc(Patience, func() { cmd.Process.Kill() }).Stop()
	err = cmd.Wait()
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
		// The log ends with the last process that writes to it, so this waits for
		// all programs that the daemon started, too.
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

// Await waits until ready returns true, and fails the test when that takes over a
// minute or the daemon ends first.
func (d *Daemon) Await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-d.Ended:
			t.Fatalf("%s ended before %s:\n%s", d.name, what, d.Log)
		case <-late:
			t.Fatalf("%s: no sign of %s:\n%s", d.name, what, d.Log)
		}
	}
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

// Stop sends the daemon its StopSignal, and kills it if it is still there ten seconds
// later.
func (d *Daemon) Stop() {
	d.Cmd.Process.Signal(d.StopSignal)
	select {
	case <-d.Ended:
		return
	case <-time.After(10 * time.Second):
	}
	d.Cmd.Process.Kill()
	<-d.Ended
}

// A Log is the output of a daemon so far.
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

// FreePort returns a TCP port on which nothing listens, a different one for each call.
func FreePort(t *testing.T) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if _, taken := ports.LoadOrStore(port, true); !taken {
			return port
		}
	}
}

var ports sync.Map // that FreePort returned

// WithInput makes a file a command's standard input.
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
