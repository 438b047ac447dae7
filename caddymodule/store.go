package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Store is a directory of images on disk, as the converter fills it, and where what
// gateways gave is cached.
type Store struct {
	// The directory. It need not exist yet, and may be filled while Caddy runs.
	// It is only read, but for `cache` in it, and for `names`, where records of IPNS
	// keys are kept if names are configured. Global placeholders such as `{env.HOME}`
	// are replaced when the configuration is loaded. Default: wherever the converter
	// keeps images when it is not told either, so both `/var/lib/ipfs-registry`
	// and `ipfs-registry` in the data directory of the user that Caddy runs as
	// (`$XDG_DATA_HOME`, `~/.local/share`).
	Directory string `json:"directory,omitempty"`

	// How many bytes of what gateways gave are kept in the directory, besides the
	// images that the converter put there. What was used least recently goes first.
	// What is larger than that passes by. Nothing is kept if it is negative, and
	// with `trust gateway`, since nothing is proved then. Where the directory cannot
	// be written, such as on a full disk, nothing is kept for as long as that is so.
	// Default: 10 GiB.
	MaxSize int64 `json:"max_size,omitempty"`
}

// provision opens the store, which by default is more than one directory: which
// of them the converter will use can change while we run, and with who runs it.
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
		logger.Warn("there is no store yet, which the converter makes", zap.Errors("errors", absent))
	}
	return stores, nil
}

// fromStores is what read gets from the first store that has it. That one cannot
// be read is logged, and no reason not to look in the next.
func fromStores[T any](h *Handler, q request, read func(*store.Store) (T, error)) (T, error) {
	var none T
	err := fs.ErrNotExist
	for _, s := range h.stores {
		found, failed := read(s)
		if failed == nil {
			q.seen.from(sourceStore)
			return found, nil
		}
		switch {
		case errors.Is(failed, layout.ErrUncompressedDigest): // read well, and wrong wherever it is
			return none, failed
		case !errors.Is(failed, fs.ErrNotExist):
			h.logger.Error("store failed", q.fields(zap.String("store", s.Dir()), zap.Error(failed))...)
			err = failed
		}
	}
	return none, err
}
