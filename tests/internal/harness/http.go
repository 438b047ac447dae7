package harness

import (
	"io"
	"net/http"
	"testing"
)

type Response struct {
	*http.Response
	Text string
}

// NoRedirects follows no redirects.
var NoRedirects = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       Patience,
}

func Get(t *testing.T, url string) Response {
	t.Helper()
	resp, err := Fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Fetch fails where the answer has less than was announced, as get does.
func Fetch(url string) (Response, error) { return FetchBy(NoRedirects, url) }

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

// MustSend has a method and, by turns, names and values of its header.
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

// IsServed tells whether the URL is served.
func IsServed(url string) bool {
	resp, err := NoRedirects.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// AskPlainly sends a request as it is, without what Go's client does by itself about
// compression.
func AskPlainly(t *testing.T, method, url string, header ...string) Response {
	t.Helper()
	return MustSend(t, exact, method, url, header...)
}

// exact shows what is sent: it asks for no compression that it would undo.
var exact = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: NoRedirects.CheckRedirect,
	Timeout:       Patience,
}
