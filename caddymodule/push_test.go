package caddymodule

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// An empty index needs no blobs.
const anIndex = `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[]}`

func putIndex(t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/v2/team/app/manifests/v1", strings.NewReader(anIndex))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", v1.MediaTypeImageIndex)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// Caddy emits an event for each push, with the address that the client is told.
func TestPushedEvent(t *testing.T) {
	config := fmt.Sprintf(`{
		"admin": {"disabled": true, "config": {"persist": false}},
		"apps": {
			"events": {"subscriptions": [{"events": [%q], "modules": ["http.handlers.ipfs_registry"], "handlers": [{"handler": "heard"}]}]},
			"http": {"servers": {"registry": {
				"listen": ["127.0.0.1:0"],
				"routes": [{"handle": [{"handler": "ipfs_registry", "store": {"directory": %q}, "push": {"anonymous": true}}]}]
			}}}
		}
	}`, eventPushed, t.TempDir())
	server := runServer(t, config)
	resp := putIndex(t, server.URL)
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	e := <-heardEvents
	for key, want := range map[string]string{
		"repository": "team/app",
		"tags":       "[v1]",
		"digest":     digest.FromString(anIndex).String(),
		"media_type": v1.MediaTypeImageIndex,
		"address":    strings.TrimPrefix(resp.Header.Get("X-Ipfs-Path"), "/ipfs/"),
		"user":       "",
	} {
		if got := fmt.Sprint(e.Data[key]); got != want {
			t.Errorf("the event's %s is %q, want %q", key, got, want)
		}
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil || !bytes.Contains(page, []byte("`"+eventPushed+"`")) {
		t.Errorf("docs/operations.md does not have the event: %v", err)
	}
	if e.Name() != eventPushed || len(e.Data) != 7 || len(heardEvents) > 0 {
		t.Errorf("%s %v, and %d more", e.Name(), e.Data, len(heardEvents))
	}
}

// The operator finds the address of what was pushed in a placeholder and by the admin API.
func TestPushIsToldToTheOperator(t *testing.T) {
	s := newSite(t, Handler{Store: &Store{Directory: t.TempDir()}, Push: &Push{Anonymous: true}})
	var replacer *caddy.Replacer
	s.rewrite = func(r *http.Request) { replacer = r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer) }
	resp := putIndex(t, s.URL)
	address, _ := replacer.GetString("http.ipfs_registry.address")
	if _, told, _ := strings.Cut(resp.Header.Get("Warning"), s.Listener.Addr().String()+"/"); address == "" || told != address+`"` {
		t.Errorf("the placeholder has %q, and the client is told %q", address, resp.Header.Get("Warning"))
	}
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	r := httptest.NewRequest(http.MethodGet, "/ipfs_registry/root", nil)
	value, err := listStates(r)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, state := range value.([]rootState) {
		for _, change := range state.Changes {
			found = found || change.Repository == "team/app" && change.Reference == "v1" && change.Address == strings.TrimPrefix(resp.Header.Get("X-Ipfs-Path"), "/ipfs/")
		}
	}
	if !found {
		t.Errorf("%+v", value)
	}
}

// By default, only users that Caddy has authenticated can push.
func TestPushByDefault(t *testing.T) {
	s := newSite(t, Handler{Store: &Store{Directory: t.TempDir()}, Push: new(Push)})
	if resp := putIndex(t, s.URL); resp.StatusCode != http.StatusUnauthorized {
		t.Error(resp.Status)
	}
	s.user = "alice"
	if resp := putIndex(t, s.URL); resp.StatusCode != http.StatusCreated {
		t.Error(resp.Status)
	}
}

// The store remembers for how long replaced states are kept, until another configuration
// says otherwise.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		keep time.Duration
		want time.Duration
	}{
		{0, store.DefaultKeep},
		{7 * 24 * time.Hour, 7 * 24 * time.Hour},
		{0, 7 * 24 * time.Hour},
		{-1, 0},
	} {
		s := newSite(t, Handler{Store: &Store{Directory: dir}, Root: new(Root), Keep: caddy.Duration(test.keep)})
		if got, err := s.handler.stores[0].Root().Keep(); got != test.want || err != nil {
			t.Errorf("keep %v: states are kept for %v, %v; want %v", test.keep, got, err, test.want)
		}
	}
}
