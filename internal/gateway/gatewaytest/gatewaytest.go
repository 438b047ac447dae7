// Package gatewaytest has gateways for tests that run in the test's own process.
// Without a network in between, synctest controls their time.
package gatewaytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A Fake is a gateway, and the http.RoundTripper that reaches it. A Fake that
// returns nil answers nothing until the request is given up.
type Fake func(*http.Request) *http.Response

// RoundTrip implements http.RoundTripper.
func (f Fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if resp := f(r); resp != nil {
		resp.Request = r
		return resp, nil
	}
	<-r.Context().Done()
	return nil, r.Context().Err() // as http.Transport of old: without the cause
}

// Silence never answers.
var Silence Fake = func(*http.Request) *http.Response { return nil }

// Status answers every request with a status and a short page.
func Status(code int) Fake {
	return func(*http.Request) *http.Response { return Response(code, nil, strings.NewReader("<html>")) }
}

// Says answers every request with a body.
func Says(s string) Fake {
	return func(*http.Request) *http.Response { return Response(http.StatusOK, nil, strings.NewReader(s)) }
}

// Response returns an answer. Its length is known where body has a method Len.
func Response(code int, header http.Header, body io.Reader) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	resp := &http.Response{
		StatusCode:    code,
		Status:        fmt.Sprintf("%d %s", code, http.StatusText(code)),
		Header:        header,
		Body:          io.NopCloser(body),
		ContentLength: -1,
	}
	if sized, ok := body.(interface{ Len() int }); ok {
		resp.ContentLength = int64(sized.Len())
	}
	return resp
}
