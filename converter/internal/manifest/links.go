package manifest

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Links are what a manifest or index names, for packages that do not use Node yet.
type Links struct {
	Config    *v1.Descriptor  `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
	Blobs     []v1.Descriptor `json:"blobs"` // of artifacts, once
	Manifests []v1.Descriptor `json:"manifests"`
	Subject   *v1.Descriptor  `json:"subject"`
}

// ParseLinks reads what a manifest or index names, by digests that there are.
func ParseLinks(data []byte) (Links, error) {
	var l Links
	if err := json.Unmarshal(data, &l); err != nil {
		return Links{}, fmt.Errorf("reading what it names: %w", err)
	}
	for _, d := range append(l.Parts(), l.Manifests...) {
		if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
			return Links{}, fmt.Errorf("a digest that it names: %w", err)
		}
	}
	return l, nil
}

// Parts returns what is a blob: layers, and the config last.
func (l *Links) Parts() []v1.Descriptor {
	blobs := slices.Concat(l.Layers, l.Blobs)
	if l.Config != nil {
		blobs = append(blobs, *l.Config)
	}
	return blobs
}

// IsImage reports whether the layers are of an image, and not anything.
func (l *Links) IsImage() bool {
	return l.Config != nil && IsConfig(l.Config.MediaType) &&
		!slices.ContainsFunc(l.Layers, func(d v1.Descriptor) bool { return !IsLayer(d.MediaType) })
}

// ParseIndex reads what a manifest that is an index names.
func ParseIndex(m layout.Manifest) (*Node, error) { return Parse(m) }

// DiffIDs returns the diff_ids of a config.
func DiffIDs(config []byte) ([]digest.Digest, error) {
	c, err := ParseConfig(config)
	if err != nil {
		return nil, err
	}
	return c.DiffIDs, nil
}
