package store

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// CheckTable reports whether the store knows the leaves of a file as they are:
// reading the blob does not show that.
func (s *Store) CheckTable(f *unixfs.File) error {
	_, table, err := s.anyFile(f.CID)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(f.Nodes) == 0: // a small file
		return nil
	case err != nil:
		return err
	case table.Wrapped != f.Table.Wrapped || !slices.Equal(table.Leaves, f.Table.Leaves):
		return fmt.Errorf("%s is %w: it has other leaves than the file's nodes", s.filePath(f.CID), ErrDamaged)
	}
	return nil
}
