package tests

import (
	"io"
	"net/http"
	"testing"
)

type response struct {
	*http.Response
	body string
}

// direct follows no redirects.
var direct = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

func get(t *testing.T, url string) response {
	t.Helper()
	resp, err := fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// fetch fails where the answer has less than was announced, as get does.
func fetch(url string) (response, error) { return fetchBy(direct, url) }

func fetchBy(client *http.Client, url string) (response, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return response{}, err
	}
	return send(client, req)
}

func send(client *http.Client, req *http.Request) (response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp, string(body)}, err
}

// mustSend has a method and, by turns, names and values of its header.
func mustSend(t *testing.T, client *http.Client, method, url string, header ...string) response {
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

// answers tells whether the URL is served.
func answers(url string) bool {
	resp, err := direct.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
