package harness

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// A SlowGateway passes on the files of another gateway no faster than a test allows.
// It does not slow down blocks and CARs.
type SlowGateway struct {
	*httptest.Server
	mu    sync.Mutex
	more  sync.Cond
	held  bool
	left  int  // bytes that may pass while held is set
	waits int  // answers that are held back
	fails bool // whether the next write fails
	conns map[net.Conn]bool
}

// NewSlowGateway starts a slow gateway in front of another. It holds nothing back at
// first.
func NewSlowGateway(t *testing.T, gateway string) *SlowGateway {
	t.Helper()
	honest, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	s := &SlowGateway{conns: map[net.Conn]bool{}}
	s.more.L = &s.mu
	proxy := httputil.NewSingleHostReverseProxy(honest)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" { // a file, not a block or CAR
			w = slowWriter{w, s}
		}
		proxy.ServeHTTP(w, r)
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns[c] = true
		if state == http.StateClosed || state == http.StateHijacked {
			delete(s.conns, c)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.Release)
	return s
}

type slowWriter struct {
	http.ResponseWriter
	gateway *SlowGateway
}

// Hold holds back all answers.
func (s *SlowGateway) Hold() { s.set(true, 0) }

// Release lets all answers pass.
func (s *SlowGateway) Release() { s.set(false, 0) }

// Give lets n more bytes of all answers together pass, and holds back the rest.
func (s *SlowGateway) Give(n int) { s.set(true, n) }

func (s *SlowGateway) set(held bool, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
	s.left += more
	s.more.Broadcast()
}

// BreakOff makes the next write of an answer fail.
func (s *SlowGateway) BreakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = true
}

// Connections returns the number of open connections to the gateway.
func (s *SlowGateway) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Waiting returns the number of answers that are held back.
func (s *SlowGateway) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}

// wait waits until bytes may pass, and returns how many of n.
func (s *SlowGateway) wait(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.held && s.left == 0 {
		s.waits++
		s.more.Wait()
		s.waits--
	}
	if s.held {
		n = min(n, s.left)
		s.left -= n
	}
	if s.fails {
		s.fails = false
		return 0, errors.New("the test breaks off this answer")
	}
	return n, nil
}

func (w slowWriter) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		n, broken := w.gateway.wait(len(b))
		if broken != nil {
			return written, broken
		}
		n, err = w.ResponseWriter.Write(b[:n])
		w.ResponseWriter.(http.Flusher).Flush()
		written += n
		b = b[n:]
	}
	return written, err
}
