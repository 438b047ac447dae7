// Package gatewaytest has gateways that run in the test's own process. They need no
// network, so synctest controls their time.
package gatewaytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A Fake is a gateway, and the http.RoundTripper that reaches it. If it returns nil,
// the gateway does not answer before the request is cancelled.
type Fake func(*http.Request) *http.Response

// RoundTrip implements http.RoundTripper.
func (f Fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if resp := f(r); resp != nil {
		resp.Request = r
		return resp, nil
	}
	<-r.Context().Done()
	return nil, r.Context().Err() // without the cause, as older versions of http.Transport
}

// Silence is a gateway that never answers.
var Silence Fake = func(*http.Request) *http.Response { return nil }

// Status answers every request with a status and a short page.
func Status(code int) Fake {
	return func(*http.Request) *http.Response { return Response(code, nil, strings.NewReader("<html>")) }
}

// Says answers every request with a body.
func Says(s string) Fake {
	return func(*http.Request) *http.Response { return Response(http.StatusOK, nil, strings.NewReader(s)) }
}

// Response returns an answer. It has a Content-Length if body has a method Len.
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
