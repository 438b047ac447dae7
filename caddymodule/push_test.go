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
	"go.uber.org/zap"

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
	s.handler.own.begin()
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
	last, err := s.handler.own.LastRecord()
	if err != nil {
		t.Fatal(err)
	}
	if got := value.([]rootState)[0].IPNS; got == nil || got.Name != last.Name || got.Sequence != last.Sequence || !got.Expires.Equal(last.Expires) {
		t.Errorf("the record is %+v", got)
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

// The store remembers the options that all processes obey, until another configuration says
// otherwise.
func TestStoreRemembersOptions(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		keep, ttl         time.Duration
		wantKeep, wantTTL time.Duration
	}{
		{0, 0, store.DefaultKeep, store.DefaultTTL},
		{7 * 24 * time.Hour, 5 * time.Second, 7 * 24 * time.Hour, 5 * time.Second},
		{0, 0, 7 * 24 * time.Hour, 5 * time.Second},
		{-1, time.Hour, 0, time.Hour},
	} {
		s := newSite(t, Handler{Store: &Store{Directory: dir}, Keep: caddy.Duration(test.keep), Push: &Push{TTL: caddy.Duration(test.ttl)}})
		s.handler.own.begin()
		root := s.handler.stores[0].Root()
		if got, err := root.Keep(); got != test.wantKeep || err != nil {
			t.Errorf("keep %v: states are kept for %v, %v; want %v", test.keep, got, err, test.wantKeep)
		}
		if got, err := root.TTL(); got != test.wantTTL || err != nil {
			t.Errorf("ttl %v: records have %v, %v; want %v", test.ttl, got, err, test.wantTTL)
		}
	}
}

// A configuration that Caddy only validates does not change the store. A root that clients
// push to gets its name when the configuration runs.
func TestOwnRootGetsItsNameWhenCaddyRuns(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, Handler{Store: &Store{Directory: dir}, Keep: caddy.Duration(time.Hour), Push: &Push{TTL: caddy.Duration(time.Minute)}})
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the store has %v, %v", entries, err)
	}
	s.handler.own.logger = s.handler.logger
	s.handler.own.begin()
	name, ok := s.handler.stores[0].Root().Name()
	told := s.logs.FilterField(zap.String("name", name)).Len()
	if !ok || told != 1 {
		t.Errorf("the root has the name %q, and the log has it %d times, want once", name, told)
	}
	s = newSite(t, Handler{Store: &Store{Directory: t.TempDir()}, Root: new(Root)})
	s.handler.own.begin()
	if name, ok := s.handler.stores[0].Root().Name(); ok {
		t.Errorf("a root that clients cannot push to has the name %s", name)
	}
}
