package blob

import (
	"fmt"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/deflate"
)

// Levels of gzip. The default is part of format 1.
const (
	DefaultLevel = 4
	MaxLevel     = deflate.MaxLevel
)

// A Compression is the form that aligned layers have.
type Compression string

const (
	// Gzip compresses each piece of a layer into a member of its own, which is a leaf.
	Gzip Compression = "gzip"

	// Uncompressed keeps layers as plain tars, cut into the same pieces.
	Uncompressed Compression = "none"
)

// ParseCompression returns the compression of a name: gzip or none.
func ParseCompression(name string) (Compression, error) {
	switch c := Compression(name); c {
	case Gzip, Uncompressed:
		return c, nil
	}
	return "", fmt.Errorf("unknown compression %q: use %s or %s", name, Gzip, Uncompressed)
}
