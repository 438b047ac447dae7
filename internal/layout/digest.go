package layout

import (
	"fmt"
	"strings"

	// Both hashes that the image specification registers can be digests.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
)

// ParseDigest reads a digest as manifests and clients write it: sha256:<hex>
// or sha512:<hex>.
func ParseDigest(s string) (digest.Digest, error) {
	d, err := digest.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	return d, nil
}

// IsDigest reports whether a manifest's reference is meant as a digest. No tag
// has a colon.
func IsDigest(reference string) bool { return strings.Contains(reference, ":") }
