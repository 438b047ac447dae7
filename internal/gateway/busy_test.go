package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
)

func retryAfter(status int, after func() string) fake {
	return func(*http.Request) *http.Response {
		return response(status, http.Header{"Retry-After": {after()}}, strings.NewReader("later"))
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for name, test := range map[string]struct {
		after  func() string
		resume time.Duration // 0 where the header is ignored
	}{
		"seconds":            {func() string { return "120" }, 2 * time.Minute},
		"a date":             {func() string { return time.Now().Add(3 * time.Minute).UTC().Format(http.TimeFormat) }, 3 * time.Minute},
		"a day":              {func() string { return "86400" }, maxRest},
		"more than an int":   {func() string { return "9223372036854775807" }, maxRest},
		"a date next year":   {func() string { return time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat) }, maxRest},
		"none":               {func() string { return "0" }, 0},
		"a date in the past": {func() string { return "Mon, 02 Jan 2006 15:04:05 GMT" }, 0},
		"nonsense":           {func() string { return "soon" }, 0},
		"negative":           {func() string { return "-1" }, 0},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			synctest.Test(t, func(t *testing.T) {
				f := &farm{gateways: []fake{retryAfter(status, test.after), says("right")}}
				p := f.groups()
				ask := func() (asked string) {
					t.Helper()
					f.asked = nil
					if err := p.Do(t.Context(), want("right")); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					return strings.Join(f.asked, "")
				}
				if got := ask(); got != "ab" {
					t.Errorf("%s: asked %s", name, got)
				}
				if test.resume == 0 {
					return
				}
				if s := p.States()[0]; !s.Busy.Equal(time.Now().Add(test.resume)) || s.PutBack.After(time.Now()) {
					t.Errorf("%s: busy until %s", name, s.Busy)
				}
				clocktest.Advance(test.resume - time.Second)
				if got := ask(); got != "b" {
					t.Errorf("%s: while it is busy, asked %s", name, got)
				}
				clocktest.Advance(2 * time.Second)
				if got := ask(); got != "ab" {
					t.Errorf("%s: after that, asked %s", name, got)
				}
			})
		}
	}
}

func TestBusyGatewaysSayWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seconds := func(s string) func() string { return func() string { return s } }
		f := &farm{gateways: []fake{status(404), retryAfter(503, seconds("90")), retryAfter(429, seconds("60"))}}
		p := f.groups()
		for range 2 {
			err := p.Do(t.Context(), want("right"))
			failed, ok := err.(Error)
			busy, is := failed.Busy()
			if !ok || !is || busy.Status != 429 || !busy.Until.Equal(time.Now().Add(time.Minute)) || len(failed) != 3 {
				t.Errorf("%v: %+v", err, busy)
			}
		}
		if got := strings.Join(f.asked, ""); got != "abca" {
			t.Errorf("asked %s", got)
		}
		if _, is := (Error{{Gateway: "a", Err: errWrong}}).Busy(); is {
			t.Error("a gateway that lied is busy")
		}
	})
}

func TestGatewayThatRefusesEverythingIsShown(t *testing.T) {
	for _, code := range []int{401, 403, 429, 500, 502, 503, 504} {
		f := &farm{gateways: []fake{status(code)}}
		p := f.pool()
		ask := func(path string) {
			x := want("right")
			x.Path = path
			_ = p.Do(t.Context(), x)
		}
		for range 5 {
			ask("the same")
		}
		if p.States()[0].Refusing {
			t.Errorf("%d for one path counts as a refusal of everything", code)
		}
		for _, path := range []string{"a", "b", "c"} {
			ask(path)
		}
		if !p.States()[0].Refusing {
			t.Errorf("%d for all paths does not count as a refusal of everything", code)
		}
		f.gateways[0] = status(404)
		if ask("d"); p.States()[0].Refusing {
			t.Errorf("%d counts after a 404, which is an answer", code)
		}
	}
}

func TestRefusedRedirectIsAnAnswer(t *testing.T) {
	f := &farm{gateways: []fake{func(*http.Request) *http.Response { return redirect("http://elsewhere.example/") }, says("right")}}
	p := f.groups()
	if err := p.Do(t.Context(), want("right")); err != nil {
		t.Error(err)
	}
	if s := p.States()[0]; s.Away || s.PutBack.After(time.Now()) {
		t.Errorf("%+v", s)
	}
}

func TestSlowBodyOfARedirectDoesNotDelayTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(r *http.Request) *http.Response {
			if !strings.HasSuffix(r.URL.Path, "/there") {
				resp := redirect("/ipfs/there")
				resp.Body = readCloser{hung{r.Context()}}
				resp.ContentLength = 100
				return resp
			}
			return says("right")(r)
		}
		f := &farm{gateways: []fake{slow}}
		p := f.pool()
		began := time.Now()
		if err := p.Do(t.Context(), want("right")); err != nil || time.Since(began) > time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if s := p.States()[0]; s.Silent || s.PutBack.After(time.Now()) || !slices.Equal(f.asked, []string{"a", "a"}) {
			t.Errorf("%+v, asked %v", s, f.asked)
		}
	})
}

type readCloser struct{ hung }

func (readCloser) Close() error { return nil }
