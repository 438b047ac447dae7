package gateway

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func redirect(to string) *http.Response {
	return response(http.StatusMovedPermanently, http.Header{"Location": {to}}, strings.NewReader(""))
}

func TestOnlyRedirectsWithinTheGatewayAreFollowed(t *testing.T) {
	for _, test := range []struct {
		base, to string
		dialed   string // URL of the second request, "" if there must be none
		host     string // Host header of it
	}{
		{"https://dweb.link", "https://bafy.ipfs.dweb.link/x", "https://bafy.ipfs.dweb.link/x", "bafy.ipfs.dweb.link"},
		{"http://localhost:8080", "http://bafy.ipfs.localhost:8080/x", "http://localhost:8080/x", "bafy.ipfs.localhost:8080"},
		{"http://gw.example", "https://gw.example/ipfs/x", "https://gw.example/ipfs/x", "gw.example"},
		{"http://gw.example:81", "/ipfs/x/", "http://gw.example:81/ipfs/x/", "gw.example:81"},
		{"https://gw.example", "http://gw.example/x", "", ""},
		{"https://gw.example", "https://other.example/x", "", ""},
		{"https://gw.example", "https://notgw.example/x", "", ""},
		{"https://gw.example", "https://gw.example:2019/load", "", ""},
		{"http://gw.example", "https://gw.example:2019/load", "", ""},
		{"http://gw.example", "http://127.0.0.1:2019/", "", ""},
		{"http://gw.example", "http://user@gw.example/", "", ""},
		{"http://gw.example", "ftp://gw.example/", "", ""},
		{"http://gw.example", "http://%/", "", ""},
	} {
		var second *http.Request
		asked := 0
		rt := fake(func(r *http.Request) *http.Response {
			if asked++; asked == 1 {
				return redirect(test.to)
			}
			second = r
			return response(200, nil, strings.NewReader("right"))
		})
		err := poolAt(t, test.base, rt).Do(t.Context(), want("right"))
		if test.dialed == "" {
			if err == nil || second != nil {
				t.Errorf("%s to %s is followed", test.base, test.to)
			}
			continue
		}
		if err != nil || second.URL.String() != test.dialed || second.Host != test.host {
			t.Errorf("%s to %s: %v, %+v", test.base, test.to, err, second)
		}
	}
}

func TestRedirectLoopEnds(t *testing.T) {
	asked := 0
	err := poolAt(t, "http://gw.example", fake(func(*http.Request) *http.Response {
		asked++
		return redirect("/again")
	})).Do(t.Context(), want("right"))
	if err == nil || asked != maxRedirects+1 {
		t.Errorf("%d requests, %v", asked, err)
	}
}

func poolAt(t *testing.T, base string, rt http.RoundTripper) *Pool {
	t.Helper()
	u, err := ParseUpstream(base, "")
	if err != nil {
		t.Fatal(err)
	}
	return NewPool(Config{Groups: []Group{{[]*url.URL{u}, rt}}})
}
