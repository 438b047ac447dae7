package tree

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

// referrerIndex is an index of referrers. Order and fields are part of format 1, so
// they are written here, and not taken from a library that may add some.
type referrerIndex struct {
	SchemaVersion int        `json:"schemaVersion"`
	MediaType     string     `json:"mediaType"`
	Manifests     []referrer `json:"manifests"`
}

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

// ReferrerIndex returns the index of the manifests that refer to one subject.
func ReferrerIndex(descriptors map[digest.Digest]v1.Descriptor) ([]byte, error) {
	referrers := map[digest.Digest]referrer{}
	for name, d := range descriptors {
		referrers[name] = referrer{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Annotations: d.Annotations, ArtifactType: d.ArtifactType}
	}
	return encodeReferrers(referrers)
}

func encodeReferrers(referrers map[digest.Digest]referrer) ([]byte, error) {
	return json.Marshal(referrerIndex{2, v1.MediaTypeImageIndex, inOrder(referrers)})
}

// mergeReferrers returns the index of all referrers that either index names.
func mergeReferrers(old, now File, ws *blob.Workspace) (File, error) {
	referrers := map[digest.Digest]referrer{}
	for _, f := range []File{old, now} {
		data, err := f.Document(ws.Context)
		if err != nil {
			return File{}, err
		}
		var index referrerIndex
		if err := json.Unmarshal(data, &index); err != nil {
			return File{}, fmt.Errorf("reading an index of referrers: %w", err)
		}
		for _, r := range index.Manifests {
			referrers[r.Digest] = r
		}
	}
	data, err := encodeReferrers(referrers)
	if err != nil {
		return File{}, err
	}
	return NewFile(ws, data)
}
