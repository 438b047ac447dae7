package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway/gatewaytest"
)

var errWrong = errors.New("another content than the requested")

type fake = gatewaytest.Fake

var (
	hangs    = gatewaytest.Silence
	status   = gatewaytest.Status
	says     = gatewaytest.Says
	response = gatewaytest.Response
)

// farm counts the requests to each of its gateways, whose names are a, b, c….
type farm struct {
	gateways []fake
	mu       sync.Mutex
	asked    []string
}

func (f *farm) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Host)
	f.mu.Unlock()
	return f.gateways[r.URL.Host[0]-'a'].RoundTrip(r)
}

// pool returns the gateways as one group.
func (f *farm) pool() *Pool {
	g := Group{Transport: f}
	for i := range f.gateways {
		g.Upstreams = append(g.Upstreams, upstream(i))
	}
	return NewPool(Config{Groups: []Group{g}})
}

// groups returns the gateways as groups of one.
func (f *farm) groups() *Pool {
	var groups []Group
	for i := range f.gateways {
		groups = append(groups, Group{[]*url.URL{upstream(i)}, f})
	}
	return NewPool(Config{Groups: groups})
}

func upstream(i int) *url.URL { return &url.URL{Scheme: "http", Host: string(rune('a' + i))} }

// want is the exchange for the content s.
func want(s string) Exchange {
	return Exchange{Path: "x", Accept: func(resp *http.Response) error {
		b, err := io.ReadAll(resp.Body)
		if err == nil && string(b) != s {
			err = errWrong
		}
		return err
	}}
}

func TestNextGatewayIsAskedAfterEveryKindOfFailure(t *testing.T) {
	for name, bad := range map[string]fake{
		"lie":       says("something else"),
		"not found": status(404),
		"limited":   status(429),
		"broken":    status(500),
		"refused":   status(403),
		"silent":    hangs,
		"encoded": func(*http.Request) *http.Response {
			return response(200, http.Header{"Content-Encoding": {"gzip"}}, strings.NewReader("right"))
		},
		"breaks off": func(*http.Request) *http.Response {
			return response(200, nil, io.MultiReader(strings.NewReader("ri"), broken{}))
		},
		"stalls": func(r *http.Request) *http.Response {
			return response(200, nil, io.MultiReader(strings.NewReader("ri"), hung{r.Context()}))
		},
		"drips": func(r *http.Request) *http.Response {
			return response(200, nil, drip{r.Context()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &farm{gateways: []fake{bad, bad, says("right")}}
				if err := f.pool().Do(t.Context(), want("right")); err != nil {
					t.Error(err)
				}
				if !slices.Equal(f.asked, []string{"a", "b", "c"}) {
					t.Errorf("asked %v", f.asked)
				}
			})
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type hung struct{ context.Context }

func (h hung) Read([]byte) (int, error) {
	<-h.Done()
	return 0, h.Err()
}

// drip is an endless body of a byte every second.
type drip struct{ context.Context }

func (d drip) Read(b []byte) (int, error) {
	select {
	case <-d.Done():
		return 0, d.Err()
	case <-time.After(time.Second):
		b[0] = 'r'
		return 1, nil
	}
}

func TestGatewaysOfAGroupAreFirstInTurn(t *testing.T) {
	f := &farm{gateways: []fake{says("right"), says("right"), says("right")}}
	p := f.pool()
	for range 6 {
		if err := p.Do(t.Context(), want("right")); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(f.asked, ""); got != "abcabc" {
		t.Errorf("asked %s in turn", got)
	}
}

func TestPreferredGroupIsAskedFirst(t *testing.T) {
	f := &farm{gateways: []fake{status(404), says("right")}}
	p := f.groups()
	for range 3 {
		if err := p.Do(t.Context(), want("right")); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(f.asked, ""); got != "ababab" {
		t.Errorf("asked %s in turn", got)
	}
}

func TestFailedGatewayIsAskedLastInItsGroupForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{gateways: []fake{says("lie"), says("right")}}
		p := f.pool()
		ask := func() string {
			f.asked = nil
			x := want("right")
			x.Path = fmt.Sprint(time.Now().UnixNano(), p.groups[0].next.Load())
			if err := p.Do(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			return strings.Join(f.asked, "")
		}
		for i, want := range []string{"ab", "b", "b", "b"} {
			if got := ask(); got != want {
				t.Errorf("request %d: asked %s, want %s", i, got, want)
			}
		}
		clocktest.Advance(Penalty)
		if got := ask(); got != "ab" {
			t.Errorf("after the penalty: asked %s", got)
		}
	})
}

// Across groups, a strike counts for one path only: a publisher of false content must
// not be able to divert all requests from the preferred gateways.
func TestPenaltyKeepsTheOrderOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{gateways: []fake{says("lie"), says("right")}}
		p := f.groups()
		ask := func(path string) string {
			f.asked = nil
			x := want("right")
			x.Path = path
			if err := p.Do(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			return strings.Join(f.asked, "")
		}
		for _, test := range []struct{ path, want string }{{"x", "ab"}, {"x", "b"}, {"y", "ab"}, {"x", "b"}, {"y", "b"}} {
			if got := ask(test.path); got != test.want {
				t.Errorf("%s: asked %s, want %s", test.path, got, test.want)
			}
		}
		clocktest.Advance(Penalty)
		if got := ask("x"); got != "ab" {
			t.Errorf("after the penalty: asked %s", got)
		}
	})
}

// Expired marks go first.
func TestMarksAreBounded(t *testing.T) {
	var m marks
	now := time.Now()
	for i := range maxMarks + 9 {
		m.add(nil, fmt.Sprint(i), now)
	}
	if len(m.until) != maxMarks || !m.has(nil, fmt.Sprint(maxMarks+8), now) {
		t.Errorf("%d marks", len(m.until))
	}
	m.add(nil, "late", now.Add(Penalty))
	if len(m.until) != 1 {
		t.Errorf("%d marks, though all but one have expired", len(m.until))
	}
}

func TestGatewayWithAPenaltyIsTheLastResort(t *testing.T) {
	f := &farm{gateways: []fake{says("lie"), says("right")}}
	p := f.groups()
	if err := p.Do(t.Context(), want("right")); err != nil {
		t.Fatal(err)
	}
	f.gateways = []fake{says("right"), status(404)}
	f.asked = nil
	if err := p.Do(t.Context(), want("right")); err != nil {
		t.Error(err)
	}
	if got := strings.Join(f.asked, ""); got != "ba" {
		t.Errorf("asked %s", got)
	}
}

// Content that is false at every gateway is false in itself.
func TestFailureOfAllGatewaysIsForgiven(t *testing.T) {
	f := &farm{gateways: []fake{says("right"), says("right")}}
	p := f.groups()
	if err := p.Do(t.Context(), want("other content")); !isAll(err, errWrong) {
		t.Fatal(err)
	}
	f.asked = nil
	next := want("right")
	next.Path = "another"
	if err := p.Do(t.Context(), next); err != nil || f.asked[0] != "a" {
		t.Errorf("asked %v, %v", f.asked, err)
	}
}

// One gateway may be the only one that has some false content.
func TestFailureIsForgivenWhereOthersHaveNothing(t *testing.T) {
	f := &farm{gateways: []fake{says("false content"), status(404)}}
	p := f.pool()
	if err := p.Do(t.Context(), want("right")); err == nil {
		t.Fatal("no error")
	}
	for _, g := range p.groups[0].gateways {
		if g.penalty.Load() != 0 {
			t.Errorf("%s has a penalty", g.base)
		}
	}
}

func isAll(err, target error) bool {
	e, ok := errors.AsType[Error](err)
	return ok && e.All(target)
}

func TestErrorHasTheReasonOfEachGateway(t *testing.T) {
	for _, test := range []struct {
		gateways []fake
		target   error
		all      bool
	}{
		{[]fake{says("a lie"), says("a lie")}, errWrong, true},
		{[]fake{says("a lie"), status(404)}, errWrong, false},
		{[]fake{hangs, hangs}, ErrStalled, true},
		{[]fake{hangs, status(404)}, ErrStalled, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &farm{gateways: test.gateways}
			err := f.pool().Do(t.Context(), want("right"))
			if !errors.Is(err, test.target) || isAll(err, test.target) != test.all {
				t.Errorf("%v: all %v", err, isAll(err, test.target))
			}
			for _, name := range []string{"http://a", "http://b"} {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not name %s", err, name)
				}
			}
		})
	}
	if isAll(NewPool(Config{}).Do(t.Context(), want("")), ErrStalled) {
		t.Error("a pool without gateways stalled")
	}
}

// The next gateway's failure affects its own place only.
func TestNextGatewayIsAskedAfterErrMore(t *testing.T) {
	f := &farm{gateways: []fake{says("right"), status(404), says("lie"), says("right"), says("right")}}
	p := f.pool()
	wanted := want("right")
	good := 0
	err := p.Do(t.Context(), Exchange{Path: "x", Accept: func(resp *http.Response) error {
		if err := wanted.Accept(resp); err != nil {
			return err
		}
		if good++; good == 2 {
			return nil
		}
		return ErrMore
	}})
	if err != nil || strings.Join(f.asked, "") != "abcd" {
		t.Errorf("asked %v, %v", f.asked, err)
	}

	f = &farm{gateways: []fake{says("right"), says("lie")}}
	p = f.pool()
	err = p.Do(t.Context(), Exchange{Path: "x", Accept: func(resp *http.Response) error {
		if err := wanted.Accept(resp); err != nil {
			return err
		}
		return ErrMore
	}})
	if err != nil || len(f.asked) != 2 || p.groups[0].gateways[0].penalty.Load() != 0 || p.groups[0].gateways[1].penalty.Load() == 0 {
		t.Errorf("asked %v, %v", f.asked, err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// This holds although a failure of all gateways counts against none.
func TestGatewayIsAwayUntilItAnswers(t *testing.T) {
	var away bool
	pool := NewPool(Config{Groups: []Group{{Upstreams: []*url.URL{upstream(0)}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if away {
			return nil, errors.New("connection refused")
		}
		return status(http.StatusNotFound).RoundTrip(r)
	})}}})
	for _, away = range []bool{true, false, true} {
		if err := pool.Do(t.Context(), want("something")); err == nil {
			t.Error("no error")
		}
		if s := pool.States()[0]; s.Away != away {
			t.Errorf("%+v, want away: %v", s, away)
		}
	}
}

func TestClientThatLeavesIsNoGatewaysFault(t *testing.T) {
	left := errors.New("left")
	for name, gateway := range map[string]fake{
		"before the header": hangs,
		"in the body": func(r *http.Request) *http.Response {
			return response(200, nil, io.MultiReader(strings.NewReader("ri"), hung{r.Context()}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &farm{gateways: []fake{gateway, says("right")}}
				p := f.groups()
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(left) })
				x := want("right")
				x.Failed = func(f Failure) { t.Errorf("a failure is reported: %v", f) }
				if err := p.Do(ctx, x); !errors.Is(err, left) {
					t.Errorf("error %v", err)
				}
				if len(f.asked) != 1 {
					t.Errorf("asked %v", f.asked)
				}
				f.gateways[0], f.asked = says("right"), nil
				if err := p.Do(t.Context(), x); err != nil || f.asked[0] != "a" {
					t.Errorf("afterwards: asked %v, %v", f.asked, err)
				}
			})
		})
	}
}

func TestSlowClientDoesNotCountAgainstTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := bytes.Repeat([]byte("x"), 100)
		f := &farm{gateways: []fake{func(*http.Request) *http.Response {
			return response(200, nil, bytes.NewReader(content))
		}}}
		err := f.pool().Do(t.Context(), Exchange{Accept: func(resp *http.Response) error {
			for buf := make([]byte, 3); ; <-time.After(2 * Patience) {
				if _, err := resp.Body.Read(buf); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
			}
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyGatewayMayBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		f := &farm{gateways: []fake{func(*http.Request) *http.Response {
			return response(200, nil, readerFunc(func([]byte) (int, error) {
				if reads++; reads > 100 {
					return 0, io.EOF
				}
				<-time.After(Patience * 9 / 10)
				return 1, nil
			}))
		}}}
		err := f.pool().Do(t.Context(), Exchange{Accept: func(resp *http.Response) error {
			buf := make([]byte, 10)
			for {
				n, err := resp.Body.Read(buf)
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				Progress(resp.Body, n)
			}
		}})
		if err != nil || reads < 101 {
			t.Errorf("%d reads, %v", reads, err)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestVerdictDecidesWhetherTheNextGatewayIsAsked(t *testing.T) {
	cause := errors.New("cause")
	for _, test := range []struct {
		err          error
		stop, strike bool
	}{
		{cause, false, true},
		{Soft(cause), false, false},
		{Stop(cause), true, false},
		{Fatal(cause), true, true},
		{fmt.Errorf("wrapped: %w", Stop(cause)), true, false},
	} {
		f := &farm{gateways: []fake{says("a"), says("b")}}
		var failures []Failure
		err := f.pool().Do(t.Context(), Exchange{
			Accept: func(*http.Response) error { return test.err },
			Failed: func(f Failure) { failures = append(failures, f) },
		})
		if !errors.Is(err, cause) {
			t.Errorf("%v: error %v", test, err)
		}
		want := 2
		if test.stop {
			want = 1
		}
		if len(f.asked) != want || len(failures) != want {
			t.Errorf("%v: asked %v, reported %v", test, f.asked, failures)
		}
		if failures[0].Strike != test.strike || failures[0].Gateway != "http://a" {
			t.Errorf("%v: reported %+v", test, failures[0])
		}
	}
}

func TestRequestHasOnlyWhatTheExchangeNeeds(t *testing.T) {
	var got *http.Request
	f := &farm{gateways: []fake{func(r *http.Request) *http.Response {
		got = r
		return response(200, nil, strings.NewReader(""))
	}}}
	base, err := ParseUpstream("http://a/below/", "")
	if err != nil {
		t.Fatal(err)
	}
	x := want("")
	x.Path = "ipfs/bafy/blobs/sha256:00"
	x.Ask = func(_ url.Values, h http.Header) { h.Set("Range", "bytes=1-") }
	if err := NewPool(Config{Groups: []Group{{[]*url.URL{base}, f}}}).Do(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodGet || got.URL.String() != "http://a/below/ipfs/bafy/blobs/sha256:00" {
		t.Errorf("%s %s", got.Method, got.URL)
	}
	header := http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"ipfs-registry"}, "Range": {"bytes=1-"}}
	if fmt.Sprint(got.Header) != fmt.Sprint(header) {
		t.Errorf("header %v, want %v", got.Header, header)
	}
}

func TestParseUpstream(t *testing.T) {
	for s, want := range map[string]string{
		"http://127.0.0.1:8080":   "http://127.0.0.1:8080",
		"https://ipfs.io/":        "https://ipfs.io",
		"https://gw.example/a/b/": "https://gw.example/a/b",
		"127.0.0.1:8080":          "http://127.0.0.1:8080",
		"localhost":               "http://localhost",
		"[::1]:8080":              "http://[::1]:8080",
	} {
		u, err := ParseUpstream(s, "http")
		if err != nil || u.String() != want {
			t.Errorf("ParseUpstream(%q) = %v, %v; want %s", s, u, err, want)
		}
	}
	for s, want := range map[string]string{
		"":                       "no host in it",
		"http://":                "no host in it",
		"http://:8080":           "no host in it",
		"ftp://x":                "ftp://x: a gateway has an http or https URL",
		"h2c://x":                "h2c://x: a gateway has an http or https URL",
		"http://user:secret@x":   "credentials",
		"http://user@x":          "credentials",
		"http://x?a=b":           "query",
		"http://x?":              "query",
		"http://x#a":             "fragment",
		"http://x/a%2fb":         "escaped",
		"http://x:port":          "not a URL",
		"http://x:1:2":           "not a URL",
		"http://us er:secret@x:": "not a URL",
		"unix//run/kubo.sock":    "not by a Unix socket",
		"unix:///run/kubo.sock":  "not by a Unix socket",
		"http://x:99999":         "no such port",
		"http://x:0":             "no such port",
		"http://x/ipfs":          "leave out /ipfs",
		"http://x/below/ipfs/":   "leave out /ipfs",
	} {
		_, err := ParseUpstream(s, "http")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseUpstream(%q): %v, want %q", s, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseUpstream(%q) shows a secret: %v", s, err)
		}
	}
	if u, err := ParseUpstream("x", "https"); err != nil || u.Scheme != "https" {
		t.Errorf("%v, %v", u, err)
	}
}
