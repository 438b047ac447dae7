//go:build abuse

package abuse

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

var profiles = flag.String("profiles", "", "a directory for a profile of the processor time of each attack")

// pace is the least time that a client takes for a request: a higher rate would test load,
// and not abuse.
const pace = time.Second

// How long the parts of an attack take.
const (
	aloneTime  = time.Second      // the honest client pulls
	crowdTime  = 4 * time.Second  // all clients attack
	slowTime   = 30 * time.Second // instead, if the registry needs a while to notice
	settleTime = 2 * time.Second  // afterwards, when all work must have ended
)

// The bars.
const (
	maxPeak    = 400 << 20
	maxHeap    = 100 << 20 // afterwards
	maxCPU     = 1.0       // seconds for one request
	maxIdleCPU = 0.1       // seconds of settleTime, after all left
	minRate    = 0.5       // of an honest client's pull, compared with its pull alone
)

// A cost is what an attack cost.
type cost struct {
	sent, asked      int64 // by one request: both ways between client and registry; of gateways
	askedByAll       int64
	peak, heap, disk int64
	cpu, idleCPU     float64
	rate             float64
	evicted          bool // whether a blob that another client used is gone
}

// All attacks are played, which takes minutes. "make abuse" does that.
func TestStrangersStayWithinTheirBars(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "| finding | what was sent | asked of gateways, one request | the crowd | memory, most | heap after | CPU, one request | CPU after | disk beyond max_size | other client's rate | |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, a := range attacks {
		t.Run(a.finding+" "+a.sent, func(t *testing.T) {
			row := a.row(play(t, a))
			fmt.Print(row)
			table.WriteString(row)
			if strings.Contains(row, "OVER") {
				t.Error("over its bar")
			}
		})
	}
	fmt.Print("\n", table.String())
}

// row prints what an attack cost, with a mark at what is over its bar.
func (a attack) row(c cost) string {
	verdict := "ok"
	over := func(is bool, value string) string {
		if !is {
			return value
		}
		verdict = "**OVER**"
		return "**" + value + "**"
	}
	cells := []string{
		a.finding, a.sent,
		over(c.asked > a.mayAsk(c.sent), mib(c.asked)),
		over(a.remembered && c.askedByAll > max(c.asked, alwaysAsked), mib(c.askedByAll)),
		over(c.peak > maxPeak, mib(c.peak)),
		over(c.heap > maxHeap, mib(c.heap)),
		over(c.cpu > maxCPU, fmt.Sprintf("%.2f s", c.cpu)),
		over(c.idleCPU > maxIdleCPU, fmt.Sprintf("%.2f s", c.idleCPU)),
		"–",
		over(c.rate < minRate, fmt.Sprintf("%.2f", c.rate)),
	}
	if a.store {
		cells[8] = over(c.disk > maxDisk, mib(max(0, c.disk-maxSize)))
	}
	if a.keeps && c.evicted {
		verdict = "**OVER**: evicted what another client used"
	}
	return "| " + strings.Join(append(cells, verdict), " | ") + " |\n"
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// play has one client attack once, and then a crowd again and again, while an honest
// client pulls.
func play(t *testing.T, a attack) (c cost) {
	r := newArena(t, a)
	do := a.prepare(r)
	r.open()
	r.honest.use(t, r.site)
	r.honest.pull(t, r.site)
	time.Sleep(aloneTime)
	alone := r.honest.stop(t)

	r.site.forgetPeak(t)
	before := r.site.cpu(t)
	r.attacking.Store(true)
	r.gateway.sent.Store(0)
	single := r.stranger(t, singleTime, 0)
	do(single)
	single.leave()
	c.cpu = r.site.cpu(t) - before
	c.idleCPU = r.idleCPU(t)
	c.sent, c.asked = single.wire.Load(), r.gateway.sent.Swap(0)

	r.honest.pull(t, r.site)
	r.profile(t)
	stop := r.watchDisk(&c.disk)
	r.crowd(t, do)
	c.rate = r.honest.stop(t) / alone
	c.idleCPU = max(c.idleCPU, r.idleCPU(t))
	stop()
	c.askedByAll, c.evicted = r.gateway.sent.Load(), r.honest.isGone(t, r.site)
	c.peak, c.heap = r.site.peak(t), r.site.heap(t)
	if r.site.Stopped() {
		t.Fatalf("Caddy ended:\n%s", r.site.Log)
	}
	return c
}

// idleCPU returns the processor time that the registry takes without requests.
func (r *arena) idleCPU(t *testing.T) float64 {
	r.site.settle(t)
	before := r.site.cpu(t)
	time.Sleep(settleTime)
	return r.site.cpu(t) - before
}

// crowd has all clients attack for a while, and then leave.
func (r *arena) crowd(t *testing.T, do func(*stranger)) {
	attacking := crowdTime
	if r.attack.slow {
		attacking = slowTime
	}
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() {
			s := r.stranger(t, attacking, i+1)
			defer s.leave()
			for s.ctx.Err() == nil {
				next := time.Now().Add(pace)
				do(s)
				wait(s.ctx, time.Until(next))
			}
		})
	}
	all.Wait()
}

// profile keeps a profile of the registry's processor time under attack, if the flag
// says where.
func (r *arena) profile(t *testing.T) {
	if *profiles == "" {
		return
	}
	name := filepath.Join(*profiles, strings.ReplaceAll(r.attack.finding+" "+r.attack.sent, "/", " ")+".pprof")
	go func() {
		profile := r.site.Ask(t, "GET", fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(crowdTime/time.Second)))
		harness.WriteFile(t, name, profile.Text)
	}()
}

// watchDisk notes the most bytes that the cache takes, until it is stopped.
func (r *arena) watchDisk(most *int64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			*most = max(*most, r.site.disk())
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); watching.Wait() }
}
