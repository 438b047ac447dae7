package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Gateways break off answers, hang, and come back. If Caddy has another gateway, clients
// notice nothing. If it has no other, it may refuse clients, which get everything when
// they ask again. No client gets a wrong byte.
func TestPullsSurviveGatewaysThatDieAndHang(t *testing.T) {
	harness.Parallel(t)
	const images, clients = 8, 4
	node := harness.NewKubo(t)
	paths := cachedImages(t, node, images, 1<<20)
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprint("alone ", alone), func(t *testing.T) {
			harness.Parallel(t)
			faulty := newFaultyGateway(t, node.Gateway)
			gateways := []string{faulty.URL}
			if !alone { // the one that is asked first has the fault
				twin := httptest.NewServer(faulty.Config.Handler)
				t.Cleanup(twin.Close)
				gateways = append(gateways, twin.URL)
			}
			store := filepath.Join(t.TempDir(), "store")
			c := withCache(t, store, gateways...)
			random := rand.New(rand.NewPCG(6, 6))
			var refused atomic.Int64
			for i, path := range paths {
				hangs, gone := alone && i%2 == 0, 0
				if alone {
					gone = 3
				}
				faulty.failAfter(random.IntN(1<<20), hangs, gone)
				var all sync.WaitGroup
				for range clients {
					all.Go(func() {
						for !pullBy(t, harness.Fetch, harness.Repository(c.Host()+"/"+path)) {
							if refused.Add(1); refused.Load() > 1000 {
								t.Errorf("%s: still refused after 1000 attempts", path)
								return
							}
						}
					})
				}
				if hangs {
					c.Await(t, "the gateway to hang", func() bool { _, hung := faulty.counts(); return hung == i/2+1 })
					faulty.goOn <- struct{}{} // never blocks: the last one was taken, or is taken by the next hang
				}
				all.Wait()
			}
			for _, path := range paths {
				c.MustHave(t, path, 1)
			}
			if !alone && refused.Load() > 0 {
				t.Errorf("%d pulls were refused although there was another gateway", refused.Load())
			}
			c.Stop()
			harness.InStore(t, store, "verify", "--all")
			died, hung := faulty.counts()
			if died+hung < images {
				t.Errorf("the gateway had %d faults, want %d or more", died+hung, images)
			}
			t.Logf("%d answers broken off or refused, %d hung; %d pulls of %d refused at first; %d images checked, 0 lost",
				died, hung, refused.Load(), images*clients, images)
		})
	}
}

// A faultyGateway passes on the answers of another gateway until it has a fault.
type faultyGateway struct {
	*httptest.Server
	mu         sync.Mutex
	left       int  // bytes until the fault, or negative if there will be none
	hangs      bool // the fault: whether an answer hangs, or breaks off
	goes       int  // how many requests are refused after an answer broke off
	gone       int  // how many are still to be refused
	died, hung int
	goOn       chan struct{} // ends one answer that hangs
}

func newFaultyGateway(t *testing.T, gateway string) *faultyGateway {
	t.Helper()
	behind, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	g := &faultyGateway{left: -1, goOn: make(chan struct{}, 1)}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.isGone() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(faultyWriter{w, r.Context(), g}, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// failAfter makes an answer hang after the given number of bytes, or break off, after
// which the next requests are refused, as many as gone.
func (g *faultyGateway) failAfter(bytes int, hangs bool, gone int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.hangs, g.goes, g.gone = bytes, hangs, gone, 0
}

func (g *faultyGateway) isGone() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone == 0 {
		return false
	}
	g.gone--
	g.died++
	return true
}

// take counts n bytes that are to be sent, and reports whether the gateway has its fault
// before them.
func (g *faultyGateway) take(n int) (dies, hangs bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left < 0 || n <= g.left {
		g.left -= max(0, min(n, g.left))
		return false, false
	}
	g.left = -1
	if g.hangs {
		g.hung++
		return false, true
	}
	g.died++
	g.gone = g.goes
	return true, false
}

func (g *faultyGateway) counts() (died, hung int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.died, g.hung
}

type faultyWriter struct {
	http.ResponseWriter
	ctx     context.Context
	gateway *faultyGateway
}

func (w faultyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w faultyWriter) Write(b []byte) (int, error) {
	dies, hangs := w.gateway.take(len(b))
	if dies {
		return 0, errors.New("the test breaks off this answer")
	}
	if hangs {
		select {
		case <-w.gateway.goOn:
		case <-w.ctx.Done(): // Caddy gave up
		}
	}
	return w.ResponseWriter.Write(b)
}

// While clients pull cold images, Caddy loads new configurations all the time. No answer
// breaks off, and the gateway sends each byte once.
func TestReloadsUnderLoadBreakNoPull(t *testing.T) {
	harness.Parallel(t)
	const images, clients = 12, 4
	node := harness.NewKubo(t)
	paths := cachedImages(t, node, images, 1<<20)
	gateway := newMeter(t, node.Gateway, 4e6)
	store := filepath.Join(t.TempDir(), "store")
	site := fmt.Sprintf("ipfs_registry %s {\nstore %s\n}\nrespond / ", gateway.URL, store)
	o := harness.NewOperated(t, site+"0")
	// Caddy replaces its listener, which resets connections that were not accepted yet.
	var again atomic.Int64
	fetchAgain := func(url string) (harness.Response, error) {
		for {
			resp, err := harness.Fetch(url)
			if resp.Response != nil || again.Load() > 1000 {
				return resp, err
			}
			again.Add(1)
		}
	}
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for _, path := range paths {
				if !pullBy(t, fetchAgain, harness.Repository(o.Host()+"/"+path)) {
					t.Errorf("%s: a pull failed during reloads", path)
				}
			}
		})
	}
	pulled := make(chan struct{})
	go func() { all.Wait(); close(pulled) }()
	reloads := 0
	for pulling := true; pulling; reloads++ {
		o.Load(t, fmt.Sprint(site, reloads+1))
		select {
		case <-pulled:
			pulling = false
		case <-time.After(100 * time.Millisecond): // leaves the pulls some processor time
		}
	}
	if sent := gateway.bytes.Load(); sent > images<<20*105/100 {
		t.Errorf("during %d reloads the gateway sent %d bytes for images of %d", reloads, sent, images<<20)
	}
	o.Stop()
	harness.InStore(t, store, "verify", "--all")
	t.Logf("%d reloads during %d pulls of %d images, %d connections repeated, 0 lost", reloads, clients*images, images, again.Load())
}
