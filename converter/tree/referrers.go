package tree

import (
	"maps"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// mergeReferrers returns the index of all referrers that either index names.
func mergeReferrers(old, now File, ws *blob.Workspace) (File, error) {
	merged := manifest.Referrers{}
	for _, f := range []File{old, now} {
		data, err := f.Document(ws.Context)
		if err != nil {
			return File{}, err
		}
		referrers, err := manifest.ParseReferrers(data)
		if err != nil {
			return File{}, err
		}
		maps.Copy(merged, referrers)
	}
	data, err := merged.Encode()
	if err != nil {
		return File{}, err
	}
	return NewFile(ws, data)
}
