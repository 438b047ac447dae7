package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// get sends the request and follows redirects. An error that is a verdict is about a
// redirect; after any other, no answer began.
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
			resp.Request = req
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

// A hopBody is the body of the answer after the redirects. Closing it releases the
// hop's context.
type hopBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b *hopBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// The rest of a body that is not wanted, such as the page of a 404, is read if it is
// short and comes soon. Then the connection can be used again.
const (
	maxDrained  = 4 << 10 // bytes
	drainPeriod = 200 * time.Millisecond
)

// drain reads the rest of a body and closes it. If the rest does not come soon, it
// calls cancel, which must end reads of the body.
func drain(resp *http.Response, cancel func()) {
	defer resp.Body.Close()
	if resp.ContentLength > maxDrained {
		return
	}
	timer := time.AfterFunc(drainPeriod, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
}

// request builds a request from nothing, so that it has no header, query or credential
// of a client's.
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
	x.Format.ask(query, req.Header)
	if x.Ask != nil {
		x.Ask(query, req.Header)
	}
	req.URL.RawQuery = query.Encode()
	return req, nil
}

// usable returns nil for an answer that may be accepted. A refusal is not the
// gateway's fault.
func usable(resp *http.Response) error {
	encoding := resp.Header.Get("Content-Encoding")
	switch code := resp.StatusCode; {
	case code == http.StatusNotImplemented: // ranges of large files
		return Soft(errors.New(resp.Status))
	case code == http.StatusNotAcceptable:
		return Soft(fmt.Errorf("%s: %w", resp.Status, ErrRefused))
	case code == http.StatusRequestedRangeNotSatisfiable:
		return nil
	case code >= 300 && code < 500:
		return Soft(errors.New(statusOf(resp)))
	case code != http.StatusOK && code != http.StatusPartialContent:
		return errors.New(statusOf(resp))
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return Soft(fmt.Errorf("the answer is encoded as %q, which was not requested", encoding))
	}
	return nil
}

// statusOf returns the status of an answer, and which kind of server sent it if that seems
// to be no gateway.
func statusOf(resp *http.Response) string {
	const ofServeMux = int64(len("404 page not found\n"))
	switch h := resp.Header; {
	case h.Get("Docker-Distribution-Api-Version") != "":
		return resp.Status + " from a container registry, which is no IPFS gateway"
	case resp.StatusCode == http.StatusNotFound && resp.ContentLength == ofServeMux && h.Get("X-Ipfs-Path") == "" && h.Get("Access-Control-Allow-Headers") == "":
		return resp.Status + ", as from a server that is no IPFS gateway: if this is the API of Kubo (port 5001), use its gateway (port 8080)"
	}
	return resp.Status
}
