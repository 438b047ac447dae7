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

// A Compression is a form of layers.
type Compression string

const (
	// Gzip compresses layers in pieces, each a leaf.
	Gzip Compression = "gzip"

	// Uncompressed keeps layers as the tars that they are, cut at the same places.
	Uncompressed Compression = "none"
)

// ParseCompression returns the compression of that name.
func ParseCompression(name string) (Compression, error) {
	switch c := Compression(name); c {
	case Gzip, Uncompressed:
		return c, nil
	}
	return "", fmt.Errorf("unknown compression %q: use %s or %s", name, Gzip, Uncompressed)
}
