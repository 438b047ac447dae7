package gateway

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// later is a gateway that waits before each answer.
func later(delay time.Duration, answer fake) fake {
	return func(r *http.Request) *http.Response {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		return answer(r)
	}
}

func TestLateGatewayIsAskedAfterTheOthersForAWhile(t *testing.T) {
	for _, test := range []struct {
		name   string
		delays [2]time.Duration
		want   string // who is asked for eight files
	}{
		{"a second beside none", [2]time.Duration{time.Second, 0}, "abbbbbbb"},
		{"much later, but soon enough for anybody", [2]time.Duration{leastLate / 2, leastLate / 20}, "abababab"},
		{"twice as late", [2]time.Duration{2 * time.Second, time.Second}, "abababab"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &farm{gateways: []fake{later(test.delays[0], says("x")), later(test.delays[1], says("x"))}}
			p := f.pool()
			ask := func(n int) string {
				f.asked = nil
				for range n {
					if err := p.Do(t.Context(), want("x")); err != nil {
						t.Fatal(err)
					}
				}
				return strings.Join(f.asked, "")
			}
			if got := ask(8); got != test.want {
				t.Errorf("%s: %s was asked instead of %s", test.name, got, test.want)
			}
			time.Sleep(lateMemory)
			if got := ask(2); got != "ab" {
				t.Errorf("%s: %s was asked a minute later", test.name, got)
			}
		})
	}
}

// Beside a gateway that usually answers at once, one that takes long to say that it has
// nothing costs a head start, once a minute.
func TestGatewayThatIsLateWithoutContentCostsAHeadStart(t *testing.T) {
	const late = Patience/3 - time.Second
	synctest.Test(t, func(t *testing.T) {
		f := &farm{gateways: []fake{says("x"), later(late, status(http.StatusNotFound))}}
		p := f.pool()
		began := time.Now()
		for range 8 {
			x := want("x")
			x.Failed = func(f Failure) {
				if f.Strike {
					t.Error(f)
				}
			}
			if err := p.Do(t.Context(), x); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > headStart {
			t.Errorf("eight files took %s", took)
		}
		for _, s := range p.States() {
			if s.PutBack.After(time.Now()) || s.Away || s.Silent {
				t.Errorf("%+v", s)
			}
		}
	})
}

// A gateway that lacks one file of an image probably lacks the others. This says nothing
// about other images, and a file that no gateway has says nothing about any.
func TestGatewayThatLacksAFileIsAskedLastForItsNeighbours(t *testing.T) {
	missing := status(http.StatusNotFound)
	f := &farm{gateways: []fake{missing, says("x")}}
	p := f.pool()
	ask := func(path string) string {
		f.asked = nil
		x := want("x")
		x.Path = path
		_ = p.Do(t.Context(), x)
		return strings.Join(f.asked, "")
	}
	for _, step := range []struct{ path, want string }{
		{"ipfs/one/a", "ab"}, {"ipfs/one/b", "b"}, {"ipfs/one/c", "b"}, {"ipfs/two/a", "b"}, {"ipfs/three", "ab"},
	} {
		if got := ask(step.path); got != step.want {
			t.Errorf("%s: %s was asked instead of %s", step.path, got, step.want)
		}
	}
	f.gateways = []fake{says("x"), says("a lie")}
	ask("ipfs/three")
	ask("ipfs/three") // one of the two asks the liar first
	f.gateways = []fake{missing, says("x")}
	for _, path := range []string{"ipfs/one/d", "ipfs/one/e"} {
		if got := ask(path); got != "b" {
			t.Errorf("%s: %s was asked instead of the gateway with a penalty that has the others", path, got)
		}
	}
	f.gateways, p = []fake{missing, missing}, f.pool()
	ask("ipfs/four/a")
	ask("ipfs/four/a")
	f.gateways[0] = says("x")
	first := ask("ipfs/four/b")[:1] + ask("ipfs/four/c")[:1]
	if first != "ab" && first != "ba" {
		t.Errorf("%s were asked first for the neighbours of a file that both lacked", first)
	}
}

// A preferred gateway that is usually quick does not make the next group start earlier.
func TestQuickGatewayHasItsTimeBeforeTheNextGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delay := time.Duration(0)
		f := &farm{gateways: []fake{func(r *http.Request) *http.Response { return later(delay, says("x"))(r) }, says("x")}}
		p := f.groups()
		for _, delay = range []time.Duration{0, 0, Patience/3 - time.Second} {
			if err := p.Do(t.Context(), want("x")); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(f.asked, ""); got != "aaa" {
			t.Errorf("%s was asked", got)
		}
	})
}

func TestLateGatewayIsAskedBeforeOneWithAPenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{gateways: []fake{says("a lie"), later(headStart/2, says("x")), says("x")}}
		p := f.pool()
		for range 3 {
			if err := p.Do(t.Context(), want("x")); err != nil {
				t.Fatal(err)
			}
		}
		f.asked, f.gateways[2] = nil, status(http.StatusNotFound)
		if err := p.Do(t.Context(), want("x")); err != nil || strings.Join(f.asked, "") != "cb" {
			t.Errorf("%v was asked, %v", f.asked, err)
		}
	})
}

// An honest gateway that was late once, because it had to look for the content, is not late
// for good.
func TestGatewayIsLateNoLongerOnceItAnswersInTime(t *testing.T) {
	var d delay
	now := time.Now()
	d.note(3*time.Second, now)
	for range 6 {
		now = now.Add(time.Second)
		d.note(10*time.Millisecond, now)
	}
	if d.isLate(10*time.Millisecond, now) {
		t.Errorf("late by %s", d.now(now))
	}
}
