package harness

import (
	"io"
	"net/http"
	"testing"
)

// A Response is an HTTP response with its whole body.
type Response struct {
	*http.Response
	Text string
}

// NoRedirects is a client that does not follow redirects.
var NoRedirects = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       Patience,
}

// Get fetches a URL. It fails the test unless it gets a complete response, of any
// status.
func Get(t *testing.T, url string) Response {
	t.Helper()
	resp, err := Fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Fetch fetches a URL. It returns an error if the body is shorter than its
// Content-Length.
func Fetch(url string) (Response, error) { return FetchBy(NoRedirects, url) }

// FetchBy is Fetch with another client.
func FetchBy(client *http.Client, url string) (Response, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return Response{}, err
	}
	return send(client, req)
}

func send(client *http.Client, req *http.Request) (Response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Response{resp, string(body)}, err
}

// MustSend sends a request. The last arguments are the names and values of header
// fields, alternately.
func MustSend(t *testing.T, client *http.Client, method, url string, header ...string) Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := send(client, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// IsServed reports whether the URL is answered with 200.
func IsServed(url string) bool {
	resp, err := NoRedirects.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// AskPlainly is MustSend without the Accept-Encoding that Go's client adds by itself, so
// the body is as the server sent it.
func AskPlainly(t *testing.T, method, url string, header ...string) Response {
	t.Helper()
	return MustSend(t, exact, method, url, header...)
}

var exact = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: NoRedirects.CheckRedirect,
	Timeout:       Patience,
}
