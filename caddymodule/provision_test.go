package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func TestDefaults(t *testing.T) {
	dir := strings.Join(store.DefaultDirs(), " ")
	if written, err := store.DefaultDir(); err != nil || !slices.Contains(store.DefaultDirs(), written) {
		t.Fatalf("the converter writes to %s, %v; we look in %s", written, err, dir)
	}
	t.Setenv("IMAGES", "/srv/images")
	for config, want := range map[string]struct {
		store    string
		gateways bool
		redirect string
	}{
		`{}`:                          {store: dir},
		`{"store":{}}`:                {store: dir},
		`{"store":{"directory":"x"}}`: {store: "x"},
		`{"store":{"directory":"{env.IMAGES}/x"}}`:                                                                     {store: "/srv/images/x"},
		`{"gateways":[{"upstreams":["http://gw"]}]}`:                                                                   {gateways: true},
		`{"gateways":[{"upstreams":["http://gw"]}],"store":{}}`:                                                        {store: dir, gateways: true},
		`{"gateways":[{"upstreams":["http://gw","http://b"]},{"upstreams":["http://c"]}],"blobs":{"mode":"redirect"}}`: {gateways: true, redirect: "http://gw"},
		`{"blobs":{"mode":"redirect","gateway":"https://ipfs.io/"}}`:                                                   {store: dir, redirect: "https://ipfs.io"},
		`{"gateways":[{"upstreams":["gw:8080"]}],"blobs":{"mode":"redirect"}}`:                                         {gateways: true, redirect: "http://gw:8080"},
		`{"gateways":[{"upstreams":["gw"],"transport":{"protocol":"http","tls":{}}}],"blobs":{"mode":"redirect"}}`:     {gateways: true, redirect: "https://gw"},
		`{"gateways":[{"upstreams":["http://gw"]}],"blobs":{"mode":"proxy"}}`:                                          {gateways: true},
	} {
		h, err := provision(t, config)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		var dirs []string
		for _, s := range h.stores {
			dirs = append(dirs, s.Dir())
		}
		if got := strings.Join(dirs, " "); got != want.store {
			t.Errorf("%s: stores %q, want %q", config, got, want.store)
		}
		if (h.pool != nil) != want.gateways {
			t.Errorf("%s: pool %v", config, h.pool)
		}
		if got := h.registry.Redirect; (got != nil) != (want.redirect != "") || got != nil && got.String() != want.redirect {
			t.Errorf("%s: redirects to %v, want %q", config, got, want.redirect)
		}
	}
}

// A running Caddy finds the first image that the converter puts into a default store.
func TestDefaultStoreMayComeLater(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	im := imagestest.New(t)
	s := newSite(t, Handler{})
	path := im.BlobURL(t, im.Layer)
	s.get(t, 404, path)
	s.get(t, 404, im.ManifestURL(t, imagestest.Ours, "v1"))

	if err := os.Rename(im.Store(t), filepath.Join(data, "ipfs-registry")); err != nil {
		t.Fatal(err)
	}
	s.get(t, 200, path)
	s.get(t, 200, im.ManifestURL(t, imagestest.Ours, "v1"))
}

// The log names the stores, and warns if none exists.
func TestStoreIsLogged(t *testing.T) {
	dir := t.TempDir()
	for _, at := range []string{dir, filepath.Join(dir, "absent")} {
		core, logs := observer.New(zap.InfoLevel)
		if _, err := (&Store{Directory: at}).provision(zap.New(core)); err != nil {
			t.Fatal(err)
		}
		entries := logs.FilterMessage("images on disk are served").All()
		if len(entries) != 1 || entries[0].Level != zap.InfoLevel || !strings.Contains(fmt.Sprint(entries[0].ContextMap()), at) {
			t.Errorf("%s: logged %v", at, logs.All())
		}
		if warned := logs.FilterLevelExact(zap.WarnLevel).Len() == 1; warned != (at != dir) {
			t.Errorf("%s: logged %v", at, logs.All())
		}
	}
}

func TestRefusedConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{"gateway":[]}`:    "unknown field",
		`{"gateways":[{}]}`: "setting up gateway group 0: no upstreams",
		`{"gateways":[{"upstreams":["http://a"]},{"upstreams":["ftp://a"]}]}`:                             `setting up gateway group 1: invalid upstream: ftp://a`,
		`{"gateways":[{"upstreams":["http://a?b"]}]}`:                                                     "a query has no place in it",
		`{"gateways":[{"upstreams":["http://a"],"transport":{"protocol":"carrier_pigeon"}}]}`:             `unknown transport "carrier_pigeon": gateways support only 'http'`,
		`{"gateways":[{"upstreams":["http://a"],"transport":{"protocol":"fastcgi"}}]}`:                    "unknown transport",
		`{"gateways":[{"upstreams":["unix/run/kubo.sock"]}]}`:                                             "a Unix socket is written unix//path/to.sock",
		`{"store":{"directory":"{env.NOT_SET_ANYWHERE}/x"}}`:                                              "setting up the store: invalid directory",
		`{"store":{"directory":"{nothing}/x"}}`:                                                           "setting up the store: invalid directory",
		`{"gateways":[{"upstreams":["http://a"],"transport":{"protocol":"http","tls":{}}}]}`:              "is plain HTTP, but the transport has TLS enabled",
		`{"gateways":[{"upstreams":["http://a"],"transport":{"protocol":"http","proxy_protocol":"v2"}}]}`: "proxy_protocol is not supported",
		`{"blobs":{"mode":"redirect"}}`:                                                                   "no gateway to redirect blobs to",
		`{"blobs":{"mode":"teleport"}}`:                                                                   "unknown mode of blobs 'teleport'",
		`{"blobs":{"gateway":"https://ipfs.io"}}`:                                                         "a gateway for blobs needs the mode 'redirect'",
		`{"blobs":{"mode":"redirect","gateway":"ipfs://x"}}`:                                              "invalid gateway: ipfs://x",
	} {
		_, err := provision(t, config)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}

// The command's flags give the same handler as the equivalent JSON.
func TestCommand(t *testing.T) {
	h := newHandler([]string{"http://a", "http://b"}, "/images", true)
	want := `{"gateways":[{"upstreams":["http://a","http://b"]}],"store":{"directory":"/images"},"blobs":{"mode":"redirect"}}`
	if got := string(caddyconfig.JSON(h, nil)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string(caddyconfig.JSON(newHandler(nil, "", false), nil)); got != "{}" {
		t.Errorf("no flags are %s", got)
	}

	cfg := newConfig(h, ":5000", true, true)
	var app struct {
		Servers map[string]struct {
			Listen []string
			Logs   *struct{}
		}
	}
	if err := json.Unmarshal(cfg.AppsRaw["http"], &app); err != nil {
		t.Fatal(err)
	}
	server := app.Servers["registry"]
	if len(server.Listen) != 1 || server.Listen[0] != ":5000" || server.Logs == nil || !cfg.Admin.Disabled || cfg.Logging == nil {
		t.Errorf("config %s", caddyconfig.JSON(cfg, nil))
	}
	for _, bad := range []bool{false, true} {
		h := newHandler(nil, t.TempDir(), bad) // there is nowhere to redirect to
		if err := caddy.Validate(newConfig(h, ":5000", false, false)); (err != nil) != bad {
			t.Errorf("redirect %v: %v", bad, err)
		}
	}
}
