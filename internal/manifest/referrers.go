package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Referrers are the manifests that refer to one subject, by their digests.
type Referrers map[digest.Digest]referrer

// A referrer is a descriptor in an index of referrers. Order and fields are part of format
// 1, so they are written here, and not taken from a library that may add some.
type referrer struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Data         []byte            `json:"data,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

type referrerIndex struct {
	SchemaVersion int        `json:"schemaVersion"`
	MediaType     string     `json:"mediaType"`
	Manifests     []referrer `json:"manifests"`
}

// ParseReferrers reads an index of referrers.
func ParseReferrers(data []byte) (Referrers, error) {
	var index referrerIndex
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("reading an index of referrers: %w", err)
	}
	r := Referrers{}
	for _, d := range index.Manifests {
		r[d.Digest] = d
	}
	return r, nil
}

// Add adds a manifest.
func (r Referrers) Add(n *Node) {
	artifactType := n.ArtifactType
	if n.Config != nil {
		artifactType = cmp.Or(artifactType, n.Config.MediaType)
	}
	r[n.Digest] = referrer{MediaType: n.MediaType, Digest: n.Digest, Size: int64(len(n.Data)), Annotations: n.Annotations, ArtifactType: artifactType}
}

// Encode writes the index, which depends on the referrers alone: it is sorted by digest.
func (r Referrers) Encode() ([]byte, error) {
	sorted := make([]referrer, 0, len(r))
	for _, d := range slices.Sorted(maps.Keys(r)) {
		sorted = append(sorted, r[d])
	}
	return json.Marshal(referrerIndex{2, v1.MediaTypeImageIndex, sorted})
}
