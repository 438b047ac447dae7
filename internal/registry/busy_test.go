package registry

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Clients such as podman wait if they are told to, and give up at a 502. So what the only
// gateways say about their limits reaches the client, in the protocol's form.
func TestBusyGatewaysMakeClientsWait(t *testing.T) {
	im := imagestest.New(t)
	path := im.BlobURL(t, im.Layer)
	for status, code := range map[int]string{429: "TOOMANYREQUESTS", 503: "UNAVAILABLE"} {
		busy := func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}
		s := newSite(t, gateways(im.Gateway(t).Breaks(busy), im.Gateway(t).Breaks(faults["fails"])))
		s.alone = true
		resp := checkError(t, s, http.MethodGet, path, code, status)
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 7 {
			t.Errorf("%d: Retry-After: %q", status, resp.Header.Get("Retry-After"))
		}
		newSite(t, gateways(im.Gateway(t).Breaks(busy), im.Gateway(t))).get(t, 200, path)
	}
}

// A large document for which there is no memory is answered with 503 and a time to wait.
func TestFullBudgetIsAnsweredWithRetryAfter(t *testing.T) {
	im := imagestest.New(t)
	large := append(bytes.Clone(im.Manifest), bytes.Repeat([]byte(" "), smallDocument)...)
	im = im.With(t, map[string][]byte{layout.ManifestPath(ours, "large"): large})
	s := newSite(t, stored(t, im))
	s.alone = true
	release, err := budget.Process().Take(t.Context(), budget.Process().Limit()-smallDocument)
	if err != nil {
		t.Fatal(err)
	}
	resp, body := s.get(t, http.StatusServiceUnavailable, im.ManifestURL(t, ours, "large"))
	if resp.Header.Get("Retry-After") != "5" || !strings.Contains(string(body), "UNAVAILABLE") {
		t.Errorf("Retry-After: %s, %s", resp.Header.Get("Retry-After"), body)
	}
	s.get(t, http.StatusOK, im.ManifestURL(t, ours, "v1"))
	release()
	s.get(t, http.StatusOK, im.ManifestURL(t, ours, "large"))
}
