package tree

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

// ReferrerIndex returns the index of manifests that are about another one.
func ReferrerIndex(descriptors map[digest.Digest]v1.Descriptor) ([]byte, error) {
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: inOrder(descriptors)}
	index.SchemaVersion = 2
	return json.Marshal(index)
}

// mergeReferrers returns the index of all that either index names.
func mergeReferrers(old, now File, ws *blob.Workspace) (File, error) {
	descriptors := map[digest.Digest]v1.Descriptor{}
	for _, f := range []File{old, now} {
		data, err := f.Read(ws.Context)
		if err != nil {
			return File{}, err
		}
		var index v1.Index
		if err := json.Unmarshal(data, &index); err != nil {
			return File{}, err
		}
		for _, d := range index.Manifests {
			descriptors[d.Digest] = d
		}
	}
	data, err := ReferrerIndex(descriptors)
	if err != nil {
		return File{}, err
	}
	return NewFile(ws, data)
}
