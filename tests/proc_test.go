package tests

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

// patience is how long a program may take to do one thing. All take seconds,
// but for xcaddy, which may have to build Caddy from nothing.
const patience = 10 * time.Minute

// run runs a program to its end and gives back its standard output. If the
// program fails, so does the test, with what it said.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, err := try(cmd)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout, stderr)
	}
	return stdout
}

// try runs a program to its end, or to the end of our patience.
func try(cmd *exec.Cmd) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = endsWithUs()
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
	err = cmd.Wait()
	return out.String(), errs.String(), err
}

// A daemon is a program that runs beside a test.
type daemon struct {
	name  string
	cmd   *exec.Cmd
	log   *log
	ended chan struct{}
	last  os.Signal // what ends it
}

// startDaemon starts a program that ends with the test.
func startDaemon(t *testing.T, name string, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{name: name, cmd: cmd, log: new(log), ended: make(chan struct{}), last: os.Interrupt}
	cmd.Stdout, cmd.Stderr = d.log, d.log
	cmd.SysProcAttr = endsWithUs()
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		// Its log ends when the last process that writes it has, so this waits
		// for all that it started as well.
		cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("what %s said last:\n%s", d.name, d.log.tail(4000))
		}
	})
	return d
}

// await waits for something to become true, and fails the test if that takes
// too long or the daemon ends before.
func (d *daemon) await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-d.ended:
			t.Fatalf("%s ended before %s:\n%s", d.name, what, d.log)
		case <-late:
			t.Fatalf("%s: no sign of %s:\n%s", d.name, what, d.log)
		}
	}
}

// awaitLine waits for something in the daemon's log.
func (d *daemon) awaitLine(t *testing.T, text string) {
	t.Helper()
	d.await(t, fmt.Sprintf("%q", text), func() bool { return strings.Contains(d.log.String(), text) })
}

func (d *daemon) stop() {
	d.cmd.Process.Signal(d.last)
	select {
	case <-d.ended:
		return
	case <-time.After(10 * time.Second):
	}
	d.cmd.Process.Kill()
	<-d.ended
}

// A log is what a daemon has said so far.
type log struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.String()
}

func (l *log) tail(n int) string {
	said := l.String()
	return said[max(0, len(said)-n):]
}

// freePort is a TCP port that nobody listens on now, and that no other test got.
func freePort(t *testing.T) int {
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
