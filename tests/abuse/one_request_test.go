package abuse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// One request makes the registry ask little of gateways, and leaves nothing behind. This
// is judged by counts, so it holds on every machine.
func TestOneRequestAsksLittleOfGatewaysAndLeavesNothing(t *testing.T) {
	harness.Parallel(t)
	for _, a := range attacks {
		if a.slow {
			continue
		}
		t.Run(a.finding+" "+a.sent, func(t *testing.T) {
			r := newArena(t, a)
			do := a.prepare(r)
			r.open()
			r.attacking.Store(true)
			r.gateway.sent.Store(0)
			idle := r.site.goroutines(t)
			s := r.stranger(t, 2*time.Second, 0)
			do(s)
			s.leave()
			r.site.Await(t, "the end of what the request began", func() bool { return r.site.goroutines(t) <= idle+margin })
			sent, asked := s.wire.Load(), r.gateway.sent.Load()
			if most := a.mayAsk(sent); asked > most {
				t.Errorf("%d bytes were sent, and gateways were asked for %d, more than %d", sent, asked, most)
			}
			if disk := r.site.disk(); disk > maxDisk {
				t.Errorf("the cache takes %d bytes", disk)
			}
			r.site.MustAnswer(t)
		})
	}
}

// margin is how many goroutines idle connections take, and what looks after the cache.
const margin = 16

// goroutines returns how many goroutines the registry has.
func (s *site) goroutines(t *testing.T) (n int) {
	t.Helper()
	profile := s.Ask(t, "GET", "/debug/pprof/goroutine?debug=1").Text
	if _, err := fmt.Sscanf(strings.TrimPrefix(profile, "goroutine profile: "), "total %d", &n); err != nil {
		t.Fatalf("%v\n%.100s", err, profile)
	}
	return n
}
