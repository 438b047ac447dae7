package converter

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Contents are known by their sha256, which is computed as they come. Who wrote
// an image may have called them by another digest, and then they are read again,
// once for each algorithm.

// is reports whether the content has the digest.
func (c *content) is(d digest.Digest) (bool, error) {
	if d.Algorithm() == c.digest.Algorithm() {
		return c.digest == d, nil
	}
	if c.others[d.Algorithm()] == "" {
		blob, err := c.asIs()
		if err != nil {
			return false, err
		}
		got, err := c.ws.digest(blob, uncompressed, d.Algorithm())
		if err != nil {
			return false, fmt.Errorf("%s: %w", c.name, err)
		}
		c.others = with(c.others, got)
	}
	return c.others[d.Algorithm()] == d, nil
}

// diffIDBy returns the diffID, computed with that algorithm.
func (c *content) diffIDBy(algorithm digest.Algorithm) (digest.Digest, error) {
	if c.diffID.Algorithm() == algorithm {
		return c.diffID, nil
	}
	if c.otherDiffIDs[algorithm] == "" {
		blob, e := c.kept, c.encoding
		if blob == nil {
			blob, e = c.aligned, gzipEncoding
		}
		got, err := c.ws.digest(blob, e, algorithm)
		if err != nil {
			return "", fmt.Errorf("layer %s: %w", c.name, err)
		}
		c.otherDiffIDs = with(c.otherDiffIDs, got)
	}
	return c.otherDiffIDs[algorithm], nil
}

// digest returns the digest of what a blob of that encoding decompresses to.
func (ws *workspace) digest(b *Blob, e encoding, algorithm digest.Algorithm) (digest.Digest, error) {
	r, err := ws.open(b, e)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return algorithm.FromReader(contextReader{ws.ctx, r})
}

func with(digests map[digest.Algorithm]digest.Digest, d digest.Digest) map[digest.Algorithm]digest.Digest {
	if digests == nil {
		digests = map[digest.Algorithm]digest.Digest{}
	}
	digests[d.Algorithm()] = d
	return digests
}
