package clients

import (
	"archive/tar"
	"path"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The image has what makes archives hard: a layer over 1 MiB, and one that
// comes twice, where Docker before 25 saves a link the second time.
func TestImageHasLargeAndRepeatedLayers(t *testing.T) {
	harness.Parallel(t)
	a := harness.ReadArchive(t, harness.DockerImage(t).Archive)
	layers := a.Saved(t).Layers
	seen := map[string]bool{}
	var large, link bool
	for _, layer := range layers {
		content := a.File(t, layer)
		seen[harness.DigestOf(content)] = true
		large = large || len(content) > 1<<20
		link = link || a.Find(t, layer).Typeflag == tar.TypeSymlink
	}
	if len(seen) == len(layers) || !large {
		t.Errorf("of %d layers, %d differ; one is over 1 MiB: %v", len(layers), len(seen), large)
	}
	if path.Base(layers[0]) == "layer.tar" && !link {
		t.Error("no layer is a link to another")
	}
}
