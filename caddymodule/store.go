package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Store is a directory of images on disk that the converter fills. The module also caches
// content from gateways in it.
type Store struct {
	// The directory. It need not exist yet, and may be filled while Caddy runs. Caddy
	// writes only to its folders `cache` and, if names are configured, `names`, which has
	// the records of IPNS keys. Global placeholders such as `{env.HOME}` are replaced when
	// the configuration is loaded. Default: the directories in which the converter keeps
	// images by default, both `/var/lib/ipfs-registry` and
	// `ipfs-registry` in the data directory of the user that Caddy runs as
	// (`$XDG_DATA_HOME`, `~/.local/share`).
	Directory string `json:"directory,omitempty"`

	// How many bytes of content from gateways are cached in the directory, besides the
	// images of the converter. The least recently used content is evicted first. Larger
	// blobs are not cached. A negative size turns the cache off. The cache also pauses
	// while the directory cannot be written, as on a full disk. Default: 10 GiB.
	MaxSize int64 `json:"max_size,omitempty"`

	// How many bytes of the directory's file system the cache leaves free, also for
	// conversions into the same store. When less is free, the least recently used content
	// is evicted. With a negative size, the cache may fill the disk. Default: 5 % of the
	// file system or 1 GiB, whichever is less.
	MinFree int64 `json:"min_free,omitempty"`
}

// defaultMaxSize is the default size of a store's cache in bytes.
const defaultMaxSize = 10 << 30

// provision opens the store. By default it has several directories: the one that the
// converter uses depends on the user who runs it, and can change while Caddy runs.
func (s *Store) provision(logger *zap.Logger) ([]*store.Store, error) {
	dirs := store.DefaultDirs()
	if s.Directory != "" {
		dir, err := caddy.NewReplacer().ReplaceOrErr(s.Directory, true, true)
		if err != nil {
			return nil, fmt.Errorf("invalid directory '%s': %w", s.Directory, err)
		}
		s.Directory = filepath.Clean(dir)
		dirs = []string{s.Directory}
	}
	var (
		stores []*store.Store
		absent []error
	)
	for _, dir := range dirs {
		stores = append(stores, store.Open(dir))
		info, err := os.Stat(dir)
		if err != nil {
			absent = append(absent, err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", dir)
		}
	}
	logger.Info("images on disk are served", zap.Strings("store", dirs))
	for _, s := range stores {
		if err := s.CheckReadable(); err != nil {
			logger.Warn("Caddy's user cannot read the store", zap.String("store", s.Dir()), zap.Error(err))
		}
	}
	if len(absent) == len(dirs) {
		logger.Warn("there is no store yet; the first image makes it", zap.Errors("errors", absent))
	}
	return stores, nil
}

// writable returns the directory that the converter would write to.
func (s *Store) writable() (string, error) {
	if s.Directory != "" {
		return s.Directory, nil
	}
	return store.DefaultDir()
}

// cached returns the store whose cache is used: of the default stores, the one that
// Caddy's user may write.
func cached(stores []*store.Store) *store.Store {
	if os.Geteuid() == 0 {
		return stores[0]
	}
	return stores[len(stores)-1]
}

// keeps reports whether the cache is on.
func (s *Store) keeps() bool { return s.MaxSize >= 0 }

func (s *Store) maxSize() int64 {
	if s.MaxSize == 0 {
		return defaultMaxSize
	}
	return s.MaxSize
}
