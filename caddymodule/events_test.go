package caddymodule

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// heard is an event handler that passes events to a test.
type heard struct{}

var heardEvents = make(chan caddy.Event, 100)

func init() { caddy.RegisterModule(heard{}) }

// CaddyModule returns the Caddy module information.
func (heard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.heard", New: func() caddy.Module { return new(heard) }}
}

// Handle implements caddyevents.Handler.
func (heard) Handle(_ context.Context, e caddy.Event) error {
	heardEvents <- e
	return nil
}

var _ caddyevents.Handler = heard{}

// Caddy emits an event for each false answer, and for nothing else.
func TestVerificationFailedEvent(t *testing.T) {
	im := imagestest.New(t)
	liar := im.Gateway(t).Breaks(func(w http.ResponseWriter, r *http.Request, content []byte) {
		imagestest.Honest(w, r, bytes.Repeat([]byte{1}, len(content)))
	})
	absent := im.Gateway(t).Breaks(func(w http.ResponseWriter, r *http.Request, _ []byte) { http.NotFound(w, r) })
	config := fmt.Sprintf(`{
		"admin": {"disabled": true, "config": {"persist": false}},
		"apps": {
			"events": {"subscriptions": [{"events": [%q], "modules": ["http.handlers.ipfs_registry"], "handlers": [{"handler": "heard"}]}]},
			"http": {"servers": {"registry": {
				"listen": ["127.0.0.1:0"],
				"routes": [{"handle": [{"handler": "ipfs_registry", "gateways": [
					{"upstreams": [%q]}, {"upstreams": [%q]}, {"upstreams": [%q]}
				]}]}]
			}}}
		}
	}`, eventVerificationFailed, absent.URL, liar.URL, im.Gateway(t).URL)
	server := runServer(t, config)
	resp, err := http.Get(server.URL + im.BlobURL(t, im.Config))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp)
	}
	resp.Body.Close()

	e := <-heardEvents
	for key, want := range map[string]string{
		"gateway": liar.URL,
		"cid":     im.Root.String(),
		"path":    layout.BlobPath(imagestest.Ours, digest.FromBytes(im.Config)),
		"error":   "leaf at byte 0: content is not what its hash says",
	} {
		if e.Data[key] != want {
			t.Errorf("the event's %s is %q, want %q", key, e.Data[key], want)
		}
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil || !bytes.Contains(page, []byte("`"+eventVerificationFailed+"`")) {
		t.Errorf("docs/operations.md does not have the event: %v", err)
	}
	if e.Name() != eventVerificationFailed || len(e.Data) != 4 || len(heardEvents) > 0 {
		t.Errorf("%s %v, and %d more", e.Name(), e.Data, len(heardEvents))
	}
}

// runServer runs a whole configuration of Caddy until the test ends, and serves its server
// "registry". No other test changes Caddy's configuration meanwhile.
func runServer(t *testing.T, config string) *httptest.Server {
	t.Helper()
	provisioning.Lock()
	t.Cleanup(provisioning.Unlock)
	if err := caddy.Load([]byte(config), true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caddy.Stop() })
	ctx := caddy.ActiveContext()
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(app.(*caddyhttp.App).Servers["registry"])
	t.Cleanup(server.Close)
	return server
}
