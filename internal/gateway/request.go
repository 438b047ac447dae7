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
	"time"
)

// get sends the request and follows redirects. An error that is a verdict is about a
// redirect; any other says that no answer began.
func (g *gateway) get(ctx context.Context, x Exchange) (*http.Response, error) {
	at := *g.base
	at.Path += "/" + x.Path
	for range maxRedirects + 1 {
		hop, cancel := context.WithCancel(ctx)
		req, err := g.request(hop, &at, x)
		if err != nil {
			cancel()
			return nil, err
		}
		resp, err := g.transport.RoundTrip(req)
		if err != nil {
			cancel()
			return nil, err
		}
		g.away.Store(false)
		g.silence.end(time.Now())
		location := resp.Header.Get("Location")
		if !isRedirect(resp.StatusCode) || location == "" {
			resp.Body = &hopBody{resp.Body, cancel}
			return resp, nil
		}
		drain(resp, cancel)
		cancel()
		next, err := follow(g.base, &at, location)
		if err != nil {
			return nil, Soft(err)
		}
		at = *next
	}
	return nil, Soft(fmt.Errorf("more than %d redirects", maxRedirects))
}

// A hopBody is the body of the last answer of several. Closing it ends the hop.
type hopBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b *hopBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// What is left of a body when nobody wants it any more is read if it is not much
// and there soon, such as a page that says 404: then the connection is not lost.
const (
	leftover         = 4 << 10
	leftoverPatience = 200 * time.Millisecond
)

// drain ends an answer. It calls cancel, which must end reads of the body, if the
// rest does not come soon.
func drain(resp *http.Response, cancel func()) {
	defer resp.Body.Close()
	if resp.ContentLength > leftover {
		return
	}
	timer := time.AfterFunc(leftoverPatience, cancel)
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
