package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

type group struct {
	gateways []*gateway
	next     atomic.Uint32 // whose turn it is to be first
}

func newGroup(g Group) *group {
	out := &group{}
	for _, u := range g.Upstreams {
		out.gateways = append(out.gateways, &gateway{base: u, transport: g.Transport})
	}
	return out
}

// order returns all gateways, as they are to be asked: group after group, and at
// the end of all those that failed with that path, or refused the format.
func (p *Pool) order(x Exchange, now time.Time) []*gateway {
	var first, last []*gateway
	for _, g := range p.groups {
		for _, gw := range g.order(now) {
			if p.marks.has(gw, x.Path, now) || gw.refuses(x.Format, now) {
				last = append(last, gw)
			} else {
				first = append(first, gw)
			}
		}
	}
	return append(first, last...)
}

// order returns the group's gateways from the one whose turn it is, and those
// with a penalty at the end.
func (g *group) order(now time.Time) []*gateway {
	var first, last []*gateway
	turn := g.next.Add(1) - 1
	n := uint32(len(g.gateways))
	for i := range n {
		gw := g.gateways[(turn%n+i)%n]
		if now.UnixNano() < gw.penalty.Load() {
			last = append(last, gw)
		} else {
			first = append(first, gw)
		}
	}
	return append(first, last...)
}

type gateway struct {
	base      *url.URL
	transport http.RoundTripper
	penalty   atomic.Int64          // Unix time in nanoseconds until which it is last in its group
	refused   [formats]atomic.Int64 // the same until which it is not asked first for a format
	quiet     quiet
	away      atomic.Bool // whether nothing came back the last time
}

// refusal is how long it is remembered that a gateway does not serve a format.
// The answer may have been about the content.
const refusal = 10 * time.Minute

func (g *gateway) refuse(f Format, now time.Time) { g.refused[f].Store(now.Add(refusal).UnixNano()) }

func (g *gateway) refuses(f Format, now time.Time) bool { return now.UnixNano() < g.refused[f].Load() }

// Refuses reports whether no gateway is known to serve a format.
func (p *Pool) Refuses(f Format) bool {
	now := time.Now()
	for _, group := range p.groups {
		for _, g := range group.gateways {
			if !g.refuses(f, now) {
				return false
			}
		}
	}
	return true
}

// A strike is a penalty that can be taken back.
type strike struct {
	gateway     *gateway
	before, now int64
	silenced    bool
}

func (g *gateway) strike(now time.Time) strike {
	until := now.Add(Penalty).UnixNano()
	return strike{gateway: g, before: g.penalty.Swap(until), now: until}
}

func (s strike) forgive() {
	s.gateway.penalty.CompareAndSwap(s.now, s.before)
	if s.silenced {
		s.gateway.quiet.forgive()
	}
}

// attempt takes a turn, with so much patience once the answer has begun.
func (t turn) attempt(asker context.Context, x Exchange, patience time.Duration) error {
	ctx, cancel := context.WithCancelCause(asker)
	defer cancel(nil)
	watch := newWatch(patience, func() { cancel(ErrStalled) })
	watch.left = t.patience

	watch.start()
	resp, err := t.get(ctx, cancel, x)
	watch.stop(step)
	if err != nil {
		if asker.Err() == nil {
			t.away.Store(true)
		}
		return beforeAnswer(cause(ctx, err))
	}
	t.away.Store(false)
	t.quiet.end(time.Now())
	defer drain(resp, cancel)
	if x.answered != nil {
		x.answered(resp.StatusCode)
	}
	if err := usable(resp, !x.Verified); err != nil {
		return err
	}
	if err := x.Format.check(resp); err != nil {
		return Soft(err)
	}
	watch.verified = x.Verified
	resp.Body = &watchedBody{resp.Body, ctx, watch}
	return x.Accept(resp)
}

// get sends the request and follows redirects.
func (g *gateway) get(ctx context.Context, cancel context.CancelCauseFunc, x Exchange) (*http.Response, error) {
	at := *g.base
	at.Path += "/" + x.Path
	for range maxRedirects + 1 {
		req, err := g.request(ctx, &at, x)
		if err != nil {
			return nil, err
		}
		resp, err := g.transport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		location := resp.Header.Get("Location")
		if !isRedirect(resp.StatusCode) || location == "" {
			return resp, nil
		}
		drain(resp, cancel)
		next, err := g.follow(&at, location)
		if err != nil {
			return nil, Soft(err)
		}
		at = *next
	}
	return nil, Soft(fmt.Errorf("more than %d redirects", maxRedirects))
}

// What is left of a body when nobody wants it any more is read if it is not much
// and there soon, such as a page that says 404: then the connection is not lost.
const (
	leftover         = 4 << 10
	leftoverPatience = 200 * time.Millisecond
)

// drain ends an answer.
func drain(resp *http.Response, cancel context.CancelCauseFunc) {
	defer resp.Body.Close()
	if resp.ContentLength > leftover {
		return
	}
	timer := time.AfterFunc(leftoverPatience, func() { cancel(ErrStalled) })
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, leftover)
}

// request builds a request from nothing, so that nothing of a client's can get
// into it.
func (g *gateway) request(ctx context.Context, at *url.URL, x Exchange) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	if isLocalhost(at.Hostname()) {
		req.URL.Host = g.base.Host
	}
	req.Header.Set("User-Agent", "ipfs-registry")
	req.Header.Set("Accept-Encoding", "identity")
	query := req.URL.Query() // of a redirect
	maps.Copy(query, x.Query)
	x.Format.ask(query, req.Header)
	req.URL.RawQuery = query.Encode()
	if x.Header != nil {
		x.Header(req.Header)
	}
	return req, nil
}

// usable reports why an answer can be none, if so. A refusal is the gateway's
// right; that something is not there is an answer, for whoever trusts it.
func usable(resp *http.Response, trusted bool) error {
	encoding := resp.Header.Get("Content-Encoding")
	switch code := resp.StatusCode; {
	case (code == http.StatusNotFound || code == http.StatusGone) && trusted:
		return Soft(fmt.Errorf("%s: %w", resp.Status, fs.ErrNotExist))
	case code == http.StatusNotImplemented: // ranges of large files
		return Soft(errors.New(resp.Status))
	case code == http.StatusNotAcceptable:
		return Soft(fmt.Errorf("%s: %w", resp.Status, ErrRefused))
	case code == http.StatusRequestedRangeNotSatisfiable:
		return nil
	case code >= 300 && code < 500:
		return Soft(errors.New(resp.Status))
	case code != http.StatusOK && code != http.StatusPartialContent:
		return errors.New(resp.Status)
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return Soft(fmt.Errorf("the answer has the encoding %q, which nobody asked for", encoding))
	}
	return nil
}
