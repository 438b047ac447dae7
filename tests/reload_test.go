package tests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A pull goes on through new configurations, byte for byte, from the store and
// from a gateway that is slow, past the cache and into it; and when it is over,
// nothing is left of the old ones.
func TestReload(t *testing.T) {
	t.Parallel()
	for _, cache := range []string{"off", "1GiB"} {
		t.Run("cache "+cache, func(t *testing.T) {
			t.Parallel()
			testReload(t, cache)
		})
	}
}

func testReload(t *testing.T, cache string) {
	needs(t, "skopeo")
	kubo := newKubo(t)
	slow := newSlowGateway(t, kubo.gateway)
	store, deny := t.TempDir(), filepath.Join(t.TempDir(), "list.deny")
	writeFile(t, deny, "# nothing\n")
	site := fmt.Sprintf("ipfs_registry %s {\nstore %s {\nmax_size %s\n}\ndeny %s\n}\nrespond /", slow.URL, store, cache, deny)
	o := newOperated(t, site+"0 200")
	const size = 32 << 20 // more than sockets hold
	content := noise(size)
	near := convert(t, archiveOfLayers(t, "near:v1", content), "--store="+store, "--registry="+o.registry)
	far := convert(t, archiveOfLayers(t, "far:v1", content[1:]), "--ipfs-api="+kubo.api, "--registry="+o.registry)
	other := convert(t, archiveOfLayers(t, "other:v1", content[2:4<<20]), "--ipfs-api="+kubo.api, "--registry="+o.registry)

	number := 0
	reload := func() {
		t.Helper()
		number++
		o.load(t, fmt.Sprintf("%s%d 200", site, number))
	}
	for _, ref := range []string{near, far} {
		slow.hold()
		digest := layer(t, ref)
		resp, err := http.Get(repository(ref) + "/blobs/" + digest)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", ref, err, resp)
		}
		var got bytes.Buffer
		for range 6 {
			slow.give(1 << 20)
			if _, err := io.CopyN(&got, resp.Body, 512<<10); err != nil {
				t.Fatal(err)
			}
			reload()
		}
		if ref == far {
			slow.breakOff()
		}
		slow.release()
		_, err = io.Copy(&got, resp.Body)
		resp.Body.Close()
		if err != nil || digestOf(got.Bytes()) != digest {
			t.Errorf("%s: %d bytes of a blob, of which %d were announced: %v", ref, got.Len(), resp.ContentLength, err)
		}
	}

	slow.hold()
	dir, pulled := t.TempDir(), make(chan error)
	pull := exec.Command("skopeo", "copy", "--src-tls-verify=false", "docker://"+other, "dir:"+dir)
	var said string
	go func() {
		_, stderr, err := try(pull)
		said = stderr
		pulled <- err
	}()
	o.await(t, "a blob that the gateway is asked for", func() bool { return slow.waiting() > 0 })
	reload()
	slow.release()
	if err := <-pulled; err != nil {
		t.Fatalf("skopeo: %v\n%s", err, said)
	}
	digest := layer(t, other)
	if got := digestOf([]byte(readFile(t, filepath.Join(dir, strings.TrimPrefix(digest, "sha256:"))))); got != digest {
		t.Errorf("skopeo pulled %s, which is %s", digest, got)
	}

	reload()
	o.await(t, "nothing of the configurations before", func() bool {
		goroutines := o.ask(t, http.MethodGet, "/debug/pprof/goroutine?debug=2").body
		gateways := o.ask(t, http.MethodGet, "/ipfs_registry/gateways").body
		return strings.Count(goroutines, "denylist.(*Lists).Watch(") == 1 && strings.Count(gateways, slow.URL) == 1 && slow.connections() == 0
	})
}

// A slowGateway gives what another does, no faster than it is let.
type slowGateway struct {
	*httptest.Server
	mu    sync.Mutex
	more  sync.Cond
	held  bool
	left  int // bytes that may go, while it is held
	waits int // answers that wait for that
	fails bool
	conns map[net.Conn]bool
}

func newSlowGateway(t *testing.T, gateway string) *slowGateway {
	t.Helper()
	honest, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	s := &slowGateway{conns: map[net.Conn]bool{}}
	s.more.L = &s.mu
	proxy := httputil.NewSingleHostReverseProxy(honest)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" { // a file, and no nodes
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
	t.Cleanup(s.release)
	return s
}

func (s *slowGateway) hold() { s.set(true, 0) }

func (s *slowGateway) release() { s.set(false, 0) }

func (s *slowGateway) give(n int) { s.set(true, n) }

func (s *slowGateway) set(held bool, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
	s.left += more
	s.more.Broadcast()
}

// breakOff makes one answer break off.
func (s *slowGateway) breakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = true
}

func (s *slowGateway) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *slowGateway) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}

// wait waits until some of n bytes may go.
func (s *slowGateway) wait(n int) (int, error) {
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
		return 0, errors.New("broken off")
	}
	return n, nil
}

type slowWriter struct {
	http.ResponseWriter
	gateway *slowGateway
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
