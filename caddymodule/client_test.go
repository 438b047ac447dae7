package caddymodule

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestClientIsItsAddressOrNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1",
		"::ffff:192.0.2.1":   "192.0.2.1",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::/64",
		"2001:db8:1:2:f::":   "2001:db8:1:2::/64",
		"2001:db8:1:3::":     "2001:db8:1:3::/64",
		"fe80::1%eth0":       "fe80::/64",
		"":                   "",
		"a name of a socket": "a name of a socket",
	} {
		vars := map[string]any{caddyhttp.ClientIPVarKey: address}
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), caddyhttp.VarsCtxKey, vars), "GET", "/v2/", nil)
		if got := clientOf(r); got != want {
			t.Errorf("the client at %q is %q and should be %q", address, got, want)
		}
	}
	if got := clientOf(httptest.NewRequestWithContext(t.Context(), "GET", "/v2/", nil)); got != "" {
		t.Errorf("a request outside of Caddy is from %q", got)
	}
}
