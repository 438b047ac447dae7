package manifest

import (
	"fmt"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// ReadDocument reads a manifest, or another document, to its end.
func ReadDocument(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, layout.MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > layout.MaxManifest {
		return nil, fmt.Errorf("longer than %d bytes", layout.MaxManifest)
	}
	return b, nil
}
