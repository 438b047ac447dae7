package abuse

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// honest is an honest client, and a gateway with the image that it pulls. Both are in a
// process of their own: beside a hundred attackers in one process, they would wait for these
// and not for the registry.
type honest struct {
	url        string // of the gateway
	repository string
	blobs      []string

	mu  sync.Mutex
	in  io.Writer
	out *bufio.Scanner
}

const (
	honestBlobs = 96
	honestBlob  = 1 << 20 // bytes
	honestLeaf  = 256 << 10
	honestRate  = 4 << 20 // bytes a second of one answer
)

var honestDAG = sync.OnceValues(func() (dag, []string) {
	d := dag{}
	var blobs []link
	var digests []string
	for i := range honestBlobs {
		content := noise(i, honestBlob)
		var leaves []link
		for at := 0; at < honestBlob; at += honestLeaf {
			leaves = append(leaves, d.raw(content[at:at+honestLeaf]))
		}
		digests = append(digests, digest(content))
		blobs = append(blobs, d.file(leaves...).named(digests[i]))
	}
	root := d.image([]link{d.small(manifestOf(digests...)).named("v1")}, blobs)
	return d, append([]string{root.cid.String()}, digests...)
})

// asHonest is the variable that makes the test program play the honest client.
const asHonest = "ABUSE_HONEST"

// startHonest starts the process, which ends with this one.
var startHonest = sync.OnceValues(func() (*honest, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asHonest+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	_, names := honestDAG()
	h := &honest{repository: names[0], blobs: names[1:], in: in, out: bufio.NewScanner(out)}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h.url, err = h.order("url")
	return h, err
})

func newHonest(t *testing.T) *honest {
	t.Helper()
	h, err := startHonest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// order sends the process an order, and returns its answer.
func (h *honest) order(words ...string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := fmt.Fprintln(h.in, strings.Join(words, " ")); err != nil {
		return "", err
	}
	if !h.out.Scan() {
		return "", fmt.Errorf("the honest client ended: %w", io.ErrUnexpectedEOF)
	}
	return h.out.Text(), nil
}

func (h *honest) number(t *testing.T, words ...string) (n float64) {
	t.Helper()
	answer, err := h.order(words...)
	if err == nil {
		_, err = fmt.Sscan(answer, &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// blob is the URL of a blob.
func (h *honest) blob(s *site, i int) string {
	return s.URL + "/v2/" + h.repository + "/blobs/" + h.blobs[i]
}

// use pulls the one blob that no other pull wants.
func (h *honest) use(t *testing.T, s *site) {
	t.Helper()
	for range 2 {
		harness.Get(t, h.blob(s, 0))
	}
}

// isGone reports whether that blob has to be fetched again.
func (h *honest) isGone(t *testing.T, s *site) bool {
	t.Helper()
	before := h.number(t, "sent")
	harness.Get(t, h.blob(s, 0))
	return h.number(t, "sent") > before
}

// pull pulls one blob after the other until stop.
func (h *honest) pull(t *testing.T, s *site) {
	t.Helper()
	h.number(t, "pull", s.URL)
}

// stop returns how many bytes a second the client got.
func (h *honest) stop(t *testing.T) float64 {
	t.Helper()
	return h.number(t, "stop")
}

// serveHonest plays the honest client, and its gateway, until its input ends.
func serveHonest(in io.Reader, out io.Writer) {
	d, names := honestDAG()
	g := &gateway{dag: d, rate: honestRate}
	server := httptest.NewServer(g)
	pulled := 0
	var p *pulling
	for orders := bufio.NewScanner(in); orders.Scan(); {
		order, argument, _ := strings.Cut(orders.Text(), " ")
		switch order {
		case "url":
			fmt.Fprintln(out, server.URL)
		case "sent":
			fmt.Fprintln(out, g.sent.Load())
		case "pull":
			p = startPulling(func() string {
				pulled++
				return argument + "/v2/" + names[0] + "/blobs/" + names[2+pulled%(honestBlobs-1)]
			})
			fmt.Fprintln(out, pulled)
		case "stop":
			fmt.Fprintln(out, p.stop())
		}
	}
}

// A pulling is an honest client that pulls one blob after the other. It has another address
// than the strangers.
type pulling struct {
	bytes  atomic.Int64
	began  time.Time
	cancel context.CancelFunc
	ended  chan struct{}
}

func startPulling(next func() string) *pulling {
	client := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
	}}
	ctx, cancel := context.WithCancel(context.Background())
	p := &pulling{began: time.Now(), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer client.CloseIdleConnections()
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, next(), nil)
			if err != nil {
				panic(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				continue
			}
			io.Copy(p, resp.Body)
			resp.Body.Close()
		}
	}()
	return p
}

// Write implements io.Writer.
func (p *pulling) Write(b []byte) (int, error) {
	p.bytes.Add(int64(len(b)))
	return len(b), nil
}

// stop ends the client, and returns how many bytes a second it got.
func (p *pulling) stop() float64 {
	p.cancel()
	<-p.ended
	return float64(p.bytes.Load()) / time.Since(p.began).Seconds()
}
