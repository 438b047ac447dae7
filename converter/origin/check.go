package origin

import (
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A checker is a place that notes things about files beside keeping them.
type checker interface {
	check(f *unixfs.File) error
}

// Check reports what is wrong with what the place has noted about a file, which
// reading it need not show.
func (o Origin) Check(f *unixfs.File) error {
	if p, ok := o.place.(checker); ok {
		return p.check(f)
	}
	return nil
}

func (p inStore) check(f *unixfs.File) error { return p.CheckTable(f) }
