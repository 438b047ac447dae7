package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
)

func TestHangingGatewayCostsASecondFromTheSecondRequestOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{gateways: []fake{hangs, says("right")}}
		p := f.groups()
		paths := 0
		ask := func(asked string, took time.Duration) {
			t.Helper()
			f.asked = nil
			x := want("right")
			paths++
			x.Path = fmt.Sprint(paths)
			began := time.Now()
			if err := p.Do(t.Context(), x); err != nil {
				t.Error(err)
			}
			if got := strings.Join(f.asked, ""); got != asked || time.Since(began) != took {
				t.Errorf("asked %s for %s, want %s for %s", got, time.Since(began), asked, took)
			}
		}
		ask("ab", Patience/3)
		ask("ab", headStart)
		clocktest.Advance(time.Hour)
		ask("ab", headStart)

		// It has all of its time if the others cannot answer.
		slow := headStart * 9
		f.gateways = []fake{searching(slow), status(404)}
		ask("ab", slow)

		// It answered, so it has more than a head start.
		f.gateways[1] = says("right")
		clocktest.Advance(Penalty)
		ask("a", slow)
	})
}

// searching is a gateway that takes d to find content.
func searching(d time.Duration) fake {
	return func(r *http.Request) *http.Response {
		select {
		case <-time.After(d):
			return says("right")(r)
		case <-r.Context().Done():
			return nil
		}
	}
}

// A client must not be able to slow a gateway down for others by requesting content
// that the gateway searches for in vain.
func TestMissingContentMakesNoGatewaySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		has := func(f fake) fake { // one path only
			return func(r *http.Request) *http.Response {
				if strings.HasSuffix(r.URL.Path, "/good") {
					return f(r)
				}
				return nil
			}
		}
		f := &farm{gateways: []fake{has(says("right")), status(404)}}
		p := f.groups()
		bad, good := want("right"), want("right")
		good.Path = "good"
		mustBeFirst := func(when string) {
			t.Helper()
			f.asked = nil
			if err := p.Do(t.Context(), good); err != nil || f.asked[0] != "a" {
				t.Errorf("%s: asked %v, %v", when, f.asked, err)
			}
		}
		bad.Path = "nowhere"
		if err := p.Do(t.Context(), bad); err == nil || p.groups[0].gateways[0].silence.silent.Load() {
			t.Errorf("content that no gateway has: %v", err)
		}
		f.gateways[1] = says("right")
		bad.Path = "elsewhere"
		time.AfterFunc(Patience/6, func() { p.Do(t.Context(), good) })
		if err := p.Do(t.Context(), bad); err != nil || p.groups[0].gateways[0].silence.silent.Load() {
			t.Errorf("content of another gateway, while the first answers other requests: %v", err)
		}
		bad.Path = "elsewhere too"
		if err := p.Do(t.Context(), bad); err != nil || p.groups[0].gateways[0].silence.silent.Load() {
			t.Errorf("content of another gateway, within the head start: %v", err)
		}
		clocktest.Advance(Penalty)
		bad.Path = "elsewhere again"
		if err := p.Do(t.Context(), bad); err != nil || !p.groups[0].gateways[0].silence.silent.Load() {
			t.Errorf("content of another gateway, while the first answers no request: %v", err)
		}
		mustBeFirst("silent")
		f.gateways[0] = has(searching(2 * headStart))
		mustBeFirst("answering again")
	})
}
