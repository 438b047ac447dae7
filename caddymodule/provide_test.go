package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

func TestProvideNeedsAStoreAndNoAllowList(t *testing.T) {
	list := filepath.Join(t.TempDir(), "allow")
	if err := os.WriteFile(list, []byte(aCID), 0o600); err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		`{"provide":{},"gateways":[{"upstreams":["http://gw"]}]}`: "'provide' serves what the store has, and there is no store",
		`{"provide":{},"allow":["` + list + `"]}`:                 "'provide' serves everything that the store has, and 'allow' only what it lists",
	} {
		if _, err := provision(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}

// With provide, the handler serves content on IPFS beside the registry, and passes other
// requests to the next handler. Without provide, it passes on requests for content as well.
func TestProvide(t *testing.T) {
	im := imagestest.New(t)
	dir := im.Store(t)
	layer := "/ipfs/" + im.Root.String() + "/" + layout.BlobPath(imagestest.Ours, digest.FromBytes(im.Layer))
	s := newSite(t, Handler{Store: &Store{Directory: dir}, Provide: new(Provide)})
	resp, body := s.get(t, 200, layer)
	if !bytes.Equal(body, im.Layer) || resp.Header.Get("Cache-Control") != "public, max-age=29030400, immutable, no-transform" {
		t.Errorf("%d bytes, %v", len(body), resp.Header)
	}
	if resp, _ = s.get(t, 200, layer, "Authorization", "Basic YTpi"); !strings.HasPrefix(resp.Header.Get("Cache-Control"), "private") {
		t.Error(resp.Header)
	}
	s.user = "alice"
	if resp, _ = s.get(t, 200, layer+"?format=car"); !strings.HasPrefix(resp.Header.Get("Cache-Control"), "private") {
		t.Error(resp.Header)
	}
	s.get(t, 200, "/v2/")
	without := newSite(t, Handler{Store: &Store{Directory: dir}})
	for path, to := range map[string]*site{"/ipfs/hello": s, "/": s, "/ipns/example.com": s, layer: without} {
		to.do(t, "GET", path)
		if err := <-to.errs; !errors.Is(err, errNext) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// The log has a warning if strangers may be able to fetch private content.
func TestLogSaysWhatIsProvided(t *testing.T) {
	secret := &Gateway{Headers: map[string]string{"Authorization": "Bearer x"}}
	pushedTo := store.Open(t.TempDir())
	_, err := pushedTo.Root().Change(t.Context(), func(ctx context.Context, d *store.Draft) error {
		file, err := d.AddFile([]byte("content"))
		if err != nil {
			return err
		}
		return d.Edit(ctx, map[string]*unixfs.Node{"app/manifests/v1": &file})
	})
	if err != nil {
		t.Fatal(err)
	}
	for level, handlers := range map[zapcore.Level][]Handler{
		zap.WarnLevel: {{Push: new(Push)}, {Gateways: []*Gateway{new(Gateway), secret}}, {instance: instance{stores: []*store.Store{pushedTo}}}},
		zap.InfoLevel: {{}, {Gateways: []*Gateway{new(Gateway)}}},
	} {
		for _, h := range handlers {
			core, logs := observer.New(zap.DebugLevel)
			h.logger = zap.New(core)
			h.tellWhatIsProvided()
			if all := logs.All(); len(all) != 1 || all[0].Level != level {
				t.Errorf("%v; want one entry of level %s", all, level)
			}
		}
	}
}
