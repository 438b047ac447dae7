package converter

import (
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

// Contents are known by their sha256, which is computed as they come. Who wrote
// an image may have called them by another digest, and then they are read again.

// is reports whether the content has the digest.
func (c *content) is(d digest.Digest) (bool, error) {
	if d.Algorithm() == c.digest.Algorithm() || c.other == d {
		return c.digest == d || c.other == d, nil
	}
	blob, err := c.asIs()
	if err != nil {
		return false, err
	}
	f, err := os.Open(blob.Path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	c.other, err = d.Algorithm().FromReader(contextReader{c.ws.ctx, f})
	return c.other == d, err
}

// diffIDBy returns the diffID, computed with that algorithm.
func (c *content) diffIDBy(algorithm digest.Algorithm) (digest.Digest, error) {
	if c.diffID.Algorithm() == algorithm {
		return c.diffID, nil
	}
	if c.otherDiffID != "" {
		return c.otherDiffID, nil
	}
	blob, e := c.kept, c.encoding
	if blob == nil {
		blob, e = c.aligned, gzipEncoding
	}
	f, err := os.Open(blob.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var tar io.Reader = contextReader{c.ws.ctx, f}
	if e != uncompressed {
		z, err := newDecompressor(tar, e)
		if err != nil {
			return "", err
		}
		defer z.Close()
		tar = z
	}
	c.otherDiffID, err = algorithm.FromReader(tar)
	if err != nil {
		return "", fmt.Errorf("layer %s: %w", c.name, err)
	}
	return c.otherDiffID, nil
}
