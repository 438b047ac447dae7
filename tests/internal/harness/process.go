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

// Patience is how long a program may take to do one thing. All take seconds,
// but for xcaddy, which may have to build Caddy from nothing.
const Patience = 10 * time.Minute

// Run runs a program to its end and gives back its standard output. If the
// program fails, so does the test, with what it said.
func Run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, err := Try(cmd)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout, stderr)
	}
	return stdout
}

// Try runs a program to its end, or to the end of our patience.
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

// A Daemon is a program that runs beside a test.
type Daemon struct {
	name       string
	Cmd        *exec.Cmd
	Log        *Log
	Ended      chan struct{}
	StopSignal os.Signal // what ends it
}

// StartDaemon starts a program that ends with the test.
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
		// Its log ends when the last process that writes it has, so this waits
		// for all that it started as well.
		cmd.Wait()
		close(d.Ended)
	}()
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			t.Logf("what %s said last:\n%s", d.name, d.Log.tail(4000))
		}
	})
	return d
}

// Await waits for something to become true, and fails the test if that takes
// too long or the daemon ends before.
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

// AwaitLine waits for something in the daemon's log.
func (d *Daemon) AwaitLine(t *testing.T, text string) {
	t.Helper()
	d.Await(t, fmt.Sprintf("%q", text), func() bool { return strings.Contains(d.Log.String(), text) })
}

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

// A Log is what a daemon has said so far.
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

// FreePort is a TCP port that nobody listens on now, and that no other test got.
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

var ports sync.Map // that freePort gave away

// WithInput is the program with a file for its standard input.
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
