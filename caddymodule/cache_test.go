package caddymodule

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A configuration that fails to load does not change the shared cache, and the cache stays
// open while one configuration uses it.
func TestCacheAfterRefusedConfig(t *testing.T) {
	dir := t.TempDir()
	site := func(maxSize int) *Handler {
		h, err := provision(t, fmt.Sprintf(`{"gateways":[{"upstreams":["http://127.0.0.1:9"]}],"store":{"directory":%q,"max_size":%d}}`, dir, maxSize))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	hash, err := mh.Sum([]byte("content"), mh.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	runs := site(1 << 20)
	mustHold := func(want error) {
		t.Helper()
		p, err := runs.cache.cache.BeginBlob(cid.NewCidV1(cid.Raw, hash), 1<<19)
		if err == nil {
			err = p.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("half of max_size: %v, want %v", err, want)
		}
	}
	mustHold(nil)
	refused := site(1 << 10)
	if !refused.cache.isShared(runs.cache) {
		t.Fatal("there are two caches of one store")
	}
	mustHold(store.ErrTooLarge)
	if err := refused.Cleanup(); err != nil {
		t.Error(err)
	}
	mustHold(nil)
	if err := runs.Cleanup(); err != nil {
		t.Error(err)
	}
}
