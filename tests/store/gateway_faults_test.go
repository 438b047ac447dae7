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

// Gateways die and hang in the middle of answers, and come back. Clients of a Caddy with
// another gateway notice nothing. Clients of a Caddy without one may be refused, and get
// everything in the end. No client gets a wrong byte.
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
			if !alone { // of two, one has the fault: that which is asked
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
								t.Errorf("%s does not come", path)
								return
							}
						}
					})
				}
				if hangs {
					c.Await(t, "a gateway that hangs", func() bool { _, hung := faulty.counts(); return hung == i/2+1 })
					faulty.goOn <- struct{}{}
				}
				all.Wait()
			}
			for _, path := range paths {
				c.MustHave(t, path, 1)
			}
			if !alone && refused.Load() > 0 {
				t.Errorf("%d pulls were refused, though there was another gateway", refused.Load())
			}
			c.Stop()
			harness.InStore(t, store, "verify", "--all")
			died, hung := faulty.counts()
			if died+hung < images {
				t.Errorf("there were %d faults", died+hung)
			}
			t.Logf("%d answers broke off or were none, %d hung; of %d pulls %d were refused at first; %d images checked, 0 lost",
				died, hung, images*clients, refused.Load(), images)
		})
	}
}

// A faultyGateway gives what another does, but for faults.
type faultyGateway struct {
	*httptest.Server
	mu         sync.Mutex
	left       int  // bytes until it has its fault; negative if there is none to come
	hangs      bool // then, or else dies
	goes       int  // requests for which it is gone then
	gone       int  // of these
	died, hung int
	goOn       chan struct{} // ends what hangs
}

func newFaultyGateway(t *testing.T, gateway string) *faultyGateway {
	t.Helper()
	behind, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	g := &faultyGateway{left: -1, goOn: make(chan struct{})}
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

// failAfter has it hang after so many bytes, or die and be gone for some requests.
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

// take takes n bytes, and reports whether the gateway has its fault before them.
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
		return 0, errors.New("the gateway is gone")
	}
	if hangs {
		select {
		case <-w.gateway.goOn:
		case <-w.ctx.Done(): // who asked has enough of it
		}
	}
	return w.ResponseWriter.Write(b)
}

// Caddy is reloaded again and again while clients pull cold images. No answer breaks
// off, and each byte comes once from the gateway.
func TestReloadsUnderLoadBreakNoPull(t *testing.T) {
	harness.Parallel(t)
	const images, clients = 12, 4
	node := harness.NewKubo(t)
	paths := cachedImages(t, node, images, 1<<20)
	gateway := newMeter(t, node.Gateway, 4e6)
	store := filepath.Join(t.TempDir(), "store")
	site := fmt.Sprintf("ipfs_registry %s {\nstore %s\n}\nrespond / ", gateway.URL, store)
	o := harness.NewOperated(t, site+"0")
	// Caddy closes its listener, and with it connections that it has not accepted.
	var again atomic.Int64
	knock := func(url string) (harness.Response, error) {
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
				if !pullBy(t, knock, harness.Repository(o.Host()+"/"+path)) {
					t.Errorf("%s did not come", path)
				}
			}
		})
	}
	pulled := make(chan struct{})
	go func() { all.Wait(); close(pulled) }()
	reloads := 0
	for under := true; under; reloads++ {
		o.Load(t, fmt.Sprint(site, reloads+1))
		select {
		case <-pulled:
			under = false
		case <-time.After(100 * time.Millisecond): // ten times as often as anybody does
		}
	}
	if sent := gateway.bytes.Load(); sent > images<<20*105/100 {
		t.Errorf("beside %d reloads %d bytes came from the gateway", reloads, sent)
	}
	o.Stop()
	harness.InStore(t, store, "verify", "--all")
	t.Logf("%d reloads during %d pulls of %d images, %d connections anew, 0 lost", reloads, clients*images, images, again.Load())
}
