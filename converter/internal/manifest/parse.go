package manifest

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Manifest is what a manifest that is no index says.
type Manifest struct {
	v1.Manifest
	Blobs []v1.Descriptor `json:"blobs"` // layers, of an artifact that has no config
}

// Parse reads what a manifest says.
func Parse(m layout.Manifest) (Manifest, error) {
	var fields Manifest
	if err := json.Unmarshal(m.Data, &fields); err != nil {
		return Manifest{}, fmt.Errorf("reading manifest %s: %w", m.Digest, err)
	}
	return fields, nil
}

// DiffIDs reads a config as far as all must who look into layers: the digests that
// these have uncompressed.
func DiffIDs(config []byte) ([]digest.Digest, error) {
	var fields struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, fmt.Errorf("it is no config: %w", err)
	}
	for _, d := range fields.RootFS.DiffIDs {
		if _, err := layout.ParseDigest(d.String()); err != nil {
			return nil, fmt.Errorf("a diff_id of it: %w", err)
		}
	}
	return fields.RootFS.DiffIDs, nil
}
