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

// A preferred gateway that hangs costs one exchange all of our patience, and the
// others a moment; and it is itself again with its first answer.
func TestHangingGatewayIsNotWaitedForAgain(t *testing.T) {
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
			begun := time.Now()
			if err := p.Do(t.Context(), x); err != nil {
				t.Error(err)
			}
			if got := strings.Join(f.asked, ""); got != asked || time.Since(begun) != took {
				t.Errorf("asked %s for %s, want %s for %s", got, time.Since(begun), asked, took)
			}
		}
		ask("ab", Patience)
		ask("ab", headStart)
		clocktest.Advance(time.Hour)
		ask("ab", headStart)

		// It is the last resort, with all of its time.
		slow := headStart * 9
		f.gateways = []fake{searching(slow), status(404)}
		ask("aba", headStart+slow)

		// It did answer, so it is waited for.
		f.gateways[1] = says("right")
		ask("a", slow)
	})
}

// searching is a gateway that looks for a while for what it has.
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

// Whoever asks for what a gateway looks for in vain, and answers itself elsewhere
// if need be, does not take from the gateway what it has.
func TestWhatIsNotFoundMakesNobodySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		has := func(f fake) fake { // something
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
			if err := p.Do(t.Context(), good); err != nil || strings.Join(f.asked, "") != "a" {
				t.Errorf("%s: asked %v, %v", when, f.asked, err)
			}
		}
		bad.Path = "nowhere"
		if err := p.Do(t.Context(), bad); err == nil || p.groups[0].gateways[0].silence.silent.Load() {
			t.Errorf("what nobody has: %v", err)
		}
		f.gateways[1] = says("right")
		bad.Path = "elsewhere"
		time.AfterFunc(Patience/2, func() { p.Do(t.Context(), good) })
		if err := p.Do(t.Context(), bad); err != nil || p.groups[0].gateways[0].silence.silent.Load() {
			t.Errorf("what is elsewhere, while it answers others: %v", err)
		}
		bad.Path = "elsewhere too"
		if err := p.Do(t.Context(), bad); err != nil || !p.groups[0].gateways[0].silence.silent.Load() {
			t.Errorf("what is elsewhere, while it answers nobody: %v", err)
		}
		mustBeFirst("silent")
		f.gateways[0] = has(searching(2 * headStart))
		mustBeFirst("again")
	})
}
