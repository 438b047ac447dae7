package caddymodule

import (
	"os"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

const (
	// defaultMaxSize is how many bytes of a store are cache unless something else
	// is configured.
	defaultMaxSize = 10 << 30

	// defaultPrefetch is how many blobs are fetched before they are asked for, as
	// many as Docker asks for at the same time.
	defaultPrefetch = 3
)

// caches are those that are in use, by directory. What is on its way into one goes
// on when the configuration changes, and all sites with one store share it.
var caches = caddy.NewUsagePool()

// A cache is one of them.
type cache struct {
	*fill.Filler
	*store.Cache
}

func newCache(c *store.Cache) cache { return cache{fill.New(c, fill.Config{Ended: countFill}), c} }

// Destruct implements caddy.Destructor.
func (c cache) Destruct() error { return c.Close() }

// provisionCache has what gateways prove kept in the store, if there is one.
func (h *Handler) provisionCache() error {
	if h.pool == nil || len(h.stores) == 0 || h.Trust == trustGateway || h.Store.MaxSize < 0 {
		return nil
	}
	s := h.cacheStore()
	shared, _, err := caches.LoadOrNew(s.Dir(), func() (caddy.Destructor, error) {
		return newCache(s.NewCache(h.cacheConfig(s))), nil
	})
	if err != nil {
		return err
	}
	c := shared.(cache)
	h.filler, h.cached, h.client.Nodes = c.Filler, c.Cache, c.Cache
	h.configureCache()
	return nil
}

// configureCache has the shared cache be as this handler wants it.
func (h *Handler) configureCache() {
	h.cached.Configure(h.cacheConfig(h.cached.Store()))
	if n := h.prefetches(); n > 0 { // another site with the store may have it on
		h.filler.SetPrefetch(n)
	}
}

// cacheConfig is what this handler wants of a store's cache.
func (h *Handler) cacheConfig(s *store.Store) store.CacheConfig {
	dir := zap.String("store", s.Dir())
	return store.CacheConfig{
		MaxSize: h.maxSize(),
		Evicted: countEviction,
		Switched: func(err error) {
			if err == nil {
				h.logger.Info("the cache is on again", dir)
				return
			}
			h.logger.Warn("the cache is off, and gateways are asked for everything", dir, zap.Error(err))
		},
		Rotten: func(path string, err error) {
			h.logger.Error("a file of the store has rotted", zap.String("file", path), zap.Bool("in_service", err != nil), zap.Error(err))
		},
		ScrubFailed: func(err error) { h.logger.Error("scrubbing the store", dir, zap.Error(err)) },
	}
}

// cacheStore is the store whose cache is filled: of those that are there by
// default, the one that whoever runs Caddy may write.
func (h *Handler) cacheStore() *store.Store {
	if os.Geteuid() == 0 {
		return h.stores[0]
	}
	return h.stores[len(h.stores)-1]
}

func (h *Handler) maxSize() int64 {
	if h.Store.MaxSize == 0 {
		return defaultMaxSize
	}
	return h.Store.MaxSize
}

func (h *Handler) prefetches() int {
	if h.Prefetch == 0 {
		return defaultPrefetch
	}
	return max(0, h.Prefetch)
}

// releaseCache is for when the configuration is not in use any more.
func (h *Handler) releaseCache() error {
	if h.filler == nil {
		return nil
	}
	_, err := caches.Delete(h.cacheStore().Dir())
	return err
}

var _ caddy.Destructor = cache{}
