package origin

import (
	"net/http"
	"net/url"
	"testing"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A token goes to its gateway alone, even if another gateway is a subdomain of it or
// below its path.
func TestHeaderGoesToNoGatewayBelow(t *testing.T) {
	var sent string
	transport := headerTransport{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
		sent = req.Header.Get("Authorization")
		return nil, nil
	})}
	for _, g := range []struct{ url, token string }{
		{"https://example.com", "one"},
		{"https://other.example.com", ""},
		{"https://example.com/shared", ""},
		{"https://example.com/shared/two", "two"},
	} {
		u, err := url.Parse(g.url)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{}
		if g.token != "" {
			header.Set("Authorization", g.token)
		}
		transport.upstreams = append(transport.upstreams, u)
		transport.headers = append(transport.headers, header)
	}
	for address, want := range map[string]string{
		"https://example.com/ipfs/x":            "one",
		"https://x.ipfs.example.com/":           "one", // where the first one redirects to
		"https://other.example.com/ipfs/x":      "",
		"https://x.ipfs.other.example.com/":     "",
		"https://example.com/shared/ipfs/x":     "",
		"https://example.com/shared/two/ipfs/x": "two",
		"https://elsewhere.org/ipfs/x":          "",
		"https://notexample.com/ipfs/x":         "",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transport.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		if sent != want {
			t.Errorf("%s was sent %q, want %q", address, sent, want)
		}
	}
}
