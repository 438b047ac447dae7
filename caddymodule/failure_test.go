package caddymodule

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Where an address leads to something wrong, no gateway is blamed for it.
func TestContentIsNoGatewaysFault(t *testing.T) {
	im := newImages(t)
	s := newSite(t, gateways(im.gateway(t)))
	rec, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, im.blob(t, im.layer), nil)
	err := s.handler.failed(r.Context(), errors.New("a directory, not a file"), blobUnknown(request{}))
	if err := s.handler.serveFailure(rec, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), rec, nil), err); err != nil {
		t.Fatal(err)
	}
	if rec.Code != http.StatusBadGateway || !strings.Contains(rec.Body.String(), "is not as it should be") {
		t.Errorf("%d: %s", rec.Code, rec.Body)
	}
}

// What the gateways fail to do is an answer in the protocol's form, unless the
// site has a route for errors; and what is wrong is in the log alone.
func TestFailure(t *testing.T) {
	im := newImages(t)
	for fault, status := range map[string]int{"fails": 502, "stalls at once": 504} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			g := im.gateway(t).breaks(faults[fault])
			s := newSite(t, gateways(g))
			s.hurry(fault)
			path := im.manifests(t, ours, "v1")
			_, body := s.get(t, status, path)
			if err := <-s.errs; len(body) > 0 || !strings.Contains(err.Error(), g.URL) {
				t.Errorf("Caddy is told %v, and the client %s", err, body)
			}

			s.server = nil
			checkError(t, s, http.MethodHead, path, "UNAVAILABLE", status)
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
