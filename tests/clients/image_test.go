package clients

import (
	"archive/tar"
	"path"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The image that other tests use has what makes archives difficult: a layer of more than
// 1 MiB, and a layer that occurs twice, which Docker before version 25 saves as a link.
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
		t.Errorf("%d of %d layers differ, and one is over 1 MiB: %v", len(seen), len(layers), large)
	}
	if path.Base(layers[0]) == "layer.tar" && !link {
		t.Error("no layer is a link to another")
	}
}
