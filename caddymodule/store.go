package caddymodule

import "github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"

// Store is a directory of images on disk, as the converter fills it.
type Store struct {
	// The directory. It need not exist yet, may be filled while Caddy runs, and
	// is only read. Default: where the converter keeps images when it is not
	// told either, which is `/var/lib/ipfs-registry` for root and wherever that
	// exists, otherwise `ipfs-registry` in the user's data directory
	// (`$XDG_DATA_HOME`, `~/.local/share`).
	Directory string `json:"directory,omitempty"`
}

func (s *Store) provision() (err error) {
	if s.Directory == "" {
		s.Directory, err = store.DefaultDir()
	}
	return err
}
