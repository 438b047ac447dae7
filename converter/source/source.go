// Package source reads container images from where they are: an archive, the
// directory of an OCI layout, a running Docker, or a registry.
//
// Every source becomes the same value, a Layout: an index of manifests, or Docker's
// list, and the blobs that these lead to. A source makes no choice. Which images are
// wanted, for which platform and under which names is decided by its caller.
//
// An archive is read once, from front to end, because it may come from a pipe and be
// larger than the disk. Its manifest may stand last, so what each entry is for is
// known only then. Of a directory or a registry, only what the caller asks for is
// read.
package source

import (
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

// A Source is a place that images are read from. It is for one Open.
type Source interface {
	// Open reads the source, or as much of it as it takes to find the rest. The
	// workspace keeps the blobs.
	Open(ws *blob.Workspace) (*Layout, error)

	// Image is the name of the one image that the source was asked for. It is
	// empty for sources that hold any number of images.
	Image() string
}
