package blob

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
)

// The sha256 of a content is computed while it arrives. If a manifest has its digest in
// another algorithm, the content is read again, once for each algorithm.

// Is reports whether the content has a digest, in any algorithm.
func (c *Content) Is(d digest.Digest) (bool, error) {
	if d.Algorithm() == c.Digest.Algorithm() {
		return c.Digest == d, nil
	}
	if c.others[d.Algorithm()] == "" {
		blob, err := c.AsIs()
		if err != nil {
			return false, err
		}
		got, err := c.ws.digest(blob, Plain, d.Algorithm())
		if err != nil {
			return false, fmt.Errorf("%s: %w", c.Name, err)
		}
		c.others = with(c.others, got)
	}
	return c.others[d.Algorithm()] == d, nil
}

// DiffIDBy returns the DiffID in the given algorithm.
func (c *Content) DiffIDBy(algorithm digest.Algorithm) (digest.Digest, error) {
	if c.DiffID.Algorithm() == algorithm {
		return c.DiffID, nil
	}
	if c.otherDiffIDs[algorithm] == "" {
		blob, e := c.kept, c.encoding
		if blob == nil {
			blob, e = c.aligned, Gzipped
		}
		got, err := c.ws.digest(blob, e, algorithm)
		if err != nil {
			return "", fmt.Errorf("layer %s: %w", c.Name, err)
		}
		c.otherDiffIDs = with(c.otherDiffIDs, got)
	}
	return c.otherDiffIDs[algorithm], nil
}

// digest returns the digest of the uncompressed bytes of a blob.
func (ws *Workspace) digest(b *Blob, e Encoding, algorithm digest.Algorithm) (digest.Digest, error) {
	r, err := ws.open(b, e)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return algorithm.FromReader(ctxio.Reader(ws.Context, r))
}

func with(digests map[digest.Algorithm]digest.Digest, d digest.Digest) map[digest.Algorithm]digest.Digest {
	if digests == nil {
		digests = map[digest.Algorithm]digest.Digest{}
	}
	digests[d.Algorithm()] = d
	return digests
}
