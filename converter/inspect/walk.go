package inspect

import (
	"context"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A walker walks from images to what they name. It keeps the directory of one name.
type walker struct {
	from origin.Origin
	root cid.Cid

	name string
	dir  *origin.NameDir
}

// An imageKey tells images apart that differ in more than their tags.
type imageKey struct {
	name   string
	digest digest.Digest
}

func keyOf(img origin.Image) imageKey { return imageKey{img.Name, img.Digest} }

// walk calls visit for every manifest and index of an image.
func (w *walker) walk(ctx context.Context, img origin.Image, visit func(*origin.NameDir, manifest.Step) error) error {
	if w.dir == nil || w.name != img.Name {
		dir, err := w.from.NameDir(ctx, w.root, img.Name)
		if err != nil {
			return err
		}
		w.name, w.dir = img.Name, dir
	}
	w.dir.Add(img)
	return w.dir.Graph.Walk(img.Descriptor(), func(s manifest.Step) error { return visit(w.dir, s) })
}

// blobsOf returns the blobs that a manifest or index names.
func blobsOf(s manifest.Step) []v1.Descriptor {
	if !s.IsIndex() {
		return s.Blobs()
	}
	var blobs []v1.Descriptor
	for _, b := range s.Below {
		if !manifest.IsManifest(b.Descriptor) {
			blobs = append(blobs, b.Descriptor)
		}
	}
	return blobs
}
