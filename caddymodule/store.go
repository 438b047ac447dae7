package caddymodule

import (
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Store is a directory of images on disk, as the converter fills it, in which the module
// also caches what gateways gave.
type Store struct {
	// The directory. It need not exist yet, and may be filled while Caddy runs. It is
	// only read, but for its directories `cache` and, if names are configured, `names`,
	// which holds records of IPNS keys. Global placeholders such as `{env.HOME}` are
	// replaced when the configuration is loaded. Default: the directories in which the
	// converter keeps images by default, so both `/var/lib/ipfs-registry` and
	// `ipfs-registry` in the data directory of the user that Caddy runs as
	// (`$XDG_DATA_HOME`, `~/.local/share`).
	Directory string `json:"directory,omitempty"`

	// How many bytes of what gateways gave are kept in the directory, besides the
	// images that the converter put there. The least recently used go first. Blobs
	// that are larger than that are not kept. Nothing is kept if it is negative, or
	// for as long as the directory cannot be written, as on a full disk.
	// Default: 10 GiB.
	MaxSize int64 `json:"max_size,omitempty"`

	// How many bytes of the directory's file system the cache leaves free, also for
	// conversions into the same store. When less is free, what was used least recently
	// goes. The disk may be filled if it is negative. Default: 5 % of the file system or
	// 1 GiB, whichever is less.
	MinFree int64 `json:"min_free,omitempty"`
}

// defaultMaxSize is how many bytes of a store are cache unless something else is
// configured.
const defaultMaxSize = 10 << 30

// provision opens the store. By default that is more than one directory: which of them
// the converter uses depends on the user who runs it, and can change while Caddy runs.
func (s *Store) provision(logger *zap.Logger) ([]*store.Store, error) {
	dirs := store.DefaultDirs()
	if s.Directory != "" {
		dir, err := caddy.NewReplacer().ReplaceOrErr(s.Directory, true, true)
		if err != nil {
			return nil, fmt.Errorf("invalid directory '%s': %w", s.Directory, err)
		}
		s.Directory, dirs = dir, []string{dir}
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
	if len(absent) == len(dirs) {
		logger.Warn("there is no store yet; the converter makes it", zap.Errors("errors", absent))
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

// cached returns the store whose cache is filled: of the default ones, the one that the
// user who runs Caddy may write.
func cached(stores []*store.Store) *store.Store {
	if os.Geteuid() == 0 {
		return stores[0]
	}
	return stores[len(stores)-1]
}

// keeps reports whether anything is kept in the cache.
func (s *Store) keeps() bool { return s.MaxSize >= 0 }

func (s *Store) maxSize() int64 {
	if s.MaxSize == 0 {
		return defaultMaxSize
	}
	return s.MaxSize
}
