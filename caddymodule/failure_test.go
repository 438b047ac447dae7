package caddymodule

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// When the gateways fail, the client gets an error in the protocol's form, unless the
// site has a route for errors. Only the log has the reason.
func TestFailure(t *testing.T) {
	im := imagestest.New(t)
	for name, test := range map[string]struct {
		status int
		fault  imagestest.Fault
	}{
		"fails":  {502, func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(500) }},
		"stalls": {504, func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, g := test.status, im.Gateway(t).Breaks(test.fault)
			h := gateways(g)
			h.Gateways[0].TransportRaw = json.RawMessage(`{"protocol": "http", "response_header_timeout": "1s"}`)
			s := newSite(t, h)
			path := im.ManifestURL(t, imagestest.Ours, "v1")
			_, body := s.get(t, status, path)
			if err := <-s.errs; len(body) > 0 || !strings.Contains(err.Error(), g.URL) {
				t.Errorf("Caddy is told %v, and the client %s", err, body)
			}

			s.server = nil
			if resp, _, err := s.do(t, http.MethodHead, path); err != nil || resp.StatusCode != status {
				t.Errorf("HEAD: %v, %v", resp, err)
			}
			_, body = s.get(t, status, path)
			logged := s.logged("request failed")
			said := logged[len(logged)-1].ContextMap()
			if id := said["err_id"].(string); !strings.Contains(string(body), `"UNAVAILABLE"`) || !strings.Contains(string(body), id) || strings.Contains(string(body), g.URL) {
				t.Errorf("the client is told %s", body)
			}
			if reason := said["error"].(string); !strings.Contains(reason, g.URL) {
				t.Errorf("the log says %s", reason)
			}
		})
	}
}
