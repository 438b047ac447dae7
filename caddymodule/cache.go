package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/fill"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// defaultPrefetch is how many blobs are fetched at a time ahead of clients: as many as
// Docker requests at the same time.
const defaultPrefetch = 3

// caches are the caches in use, by directory. All sites with one store share its cache,
// and its fills continue when the configuration changes.
var caches = caddy.NewUsagePool()

// A sharedCache is the cache of one store.
type sharedCache struct {
	filler *fill.Filler
	cache  *store.Cache
}

// Destruct implements caddy.Destructor.
func (c sharedCache) Destruct() error { return c.filler.Close() }

// A siteCache is a shared cache and one configuration's settings for it.
type siteCache struct {
	sharedCache
	config   store.CacheConfig
	prefetch int
}

// openCache returns the cache of a store. The caller must release it.
func openCache(s *store.Store, config store.CacheConfig, prefetch int) (*siteCache, error) {
	shared, _, err := caches.LoadOrNew(s.Dir(), func() (caddy.Destructor, error) {
		c := s.NewCache(config)
		return sharedCache{fill.New(c, fill.Config{Ended: countFill}), c}, nil
	})
	if err != nil {
		return nil, err
	}
	c := &siteCache{shared.(sharedCache), config, prefetch}
	c.configure()
	return c, nil
}

// configure applies this configuration's settings to the shared cache.
func (c *siteCache) configure() {
	c.cache.Configure(c.config)
	if c.prefetch > 0 { // another site with this store may prefetch
		c.filler.SetPrefetch(c.prefetch)
	}
}

func (c *siteCache) dir() string { return c.cache.Store().Dir() }

func (c *siteCache) isShared(other *siteCache) bool { return other != nil && other.cache == c.cache }

func (c *siteCache) release() error {
	_, err := caches.Delete(c.dir())
	return err
}

// newCacheConfig returns the configuration of a store's cache, with logs and metrics.
func newCacheConfig(s *store.Store, maxSize, minFree int64, logger *zap.Logger) store.CacheConfig {
	dir := zap.String("store", s.Dir())
	return store.CacheConfig{
		MaxSize: maxSize,
		MinFree: minFree,
		Evicted: countEviction,
		Switched: func(err error) {
			if err == nil {
				logger.Info("the cache is on again", dir)
				return
			}
			logger.Warn("the cache is off, and gateways are asked for everything", dir, zap.Error(err))
		},
		Rotten: func(path string, err error) {
			logger.Error("a file of the store has rotted", zap.String("file", path), zap.Bool("in_service", err != nil), zap.Error(err))
		},
		ScrubFailed: func(err error) { logger.Error("scrubbing the store", dir, zap.Error(err)) },
	}
}

var _ caddy.Destructor = sharedCache{}
