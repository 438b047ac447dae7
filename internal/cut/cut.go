// Package cut cuts blobs that keep their bytes into leaves, as section 4 of
// docs/format-1.md has it. So a blob has the same leaves, and the same CID, whether the
// converter, a push or a mirror brought it.
//
//   - gzip is cut where its members end, if each of them can be a leaf.
//   - zstd is cut into runs of whole frames.
//   - A tar, and any other long file, is cut into the pieces of package align.
//   - Anything else is cut into leaves of a fixed length.
//
// The bytes of a blob are hostile. Cutting takes linear time, and memory for one leaf and
// the list of leaves.
package cut

import (
	"bytes"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/align"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Cutter cuts any blob. Its first bytes tell what it is.
type Cutter struct {
	profile   unixfs.Profile
	beginning []byte
	cutter    cutter // nil as long as too few bytes came to tell
}

// A cutter cuts a blob of one kind.
type cutter interface {
	io.Writer
	Table() *unixfs.Table
	Close()
}

// NewCutter returns a cutter for the leaves of a profile. The caller must call Close.
//
// Unlike the converter, it cuts gzip like any other file if the gzip decompresses to more
// than 256 MiB plus 64 times its length, so a client that sends a few bytes cannot cause much
// work.
func NewCutter(p unixfs.Profile) *Cutter { return &Cutter{profile: p} }

// Write adds the next bytes of the blob. It never fails.
func (c *Cutter) Write(b []byte) (int, error) {
	if c.cutter != nil {
		return c.cutter.Write(b)
	}
	n := min(len(b), align.BlockSize-len(c.beginning))
	if c.beginning = append(c.beginning, b[:n]...); len(c.beginning) < align.BlockSize {
		return n, nil
	}
	if err := c.begin(); err != nil {
		return 0, err
	}
	rest, err := c.cutter.Write(b[n:])
	return n + rest, err
}

func (c *Cutter) begin() error {
	switch {
	case IsGzip(c.beginning):
		c.cutter = newMembers(c.profile)
	case IsZstd(c.beginning):
		c.cutter = NewZstd(c.profile)
	case align.IsTar(c.beginning):
		c.cutter = newPieces(c.profile)
	default:
		c.cutter = newOther(c.profile)
	}
	_, err := c.cutter.Write(c.beginning)
	c.beginning = nil
	return err
}

// File returns the DAG of the blob. The cutter must not be written to afterwards.
func (c *Cutter) File() (*unixfs.File, error) {
	if c.cutter == nil {
		if err := c.begin(); err != nil {
			return nil, err
		}
	}
	return c.profile.Layout(c.cutter.Table())
}

// Close releases what the cutter holds, whether or not the blob is complete.
func (c *Cutter) Close() {
	if c.cutter != nil {
		c.cutter.Close()
	}
}

// IsGzip reports whether a blob that begins so is cut as gzip.
func IsGzip(beginning []byte) bool {
	return len(beginning) >= len(gzipMagic) && string(beginning[:len(gzipMagic)]) == gzipMagic
}

// IsZstd reports whether a blob that begins so is cut as zstd.
func IsZstd(beginning []byte) bool {
	return bytes.HasPrefix(beginning, zstdMagic) || isSkippable(beginning)
}
