package images

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A publisher may name what there is not, and very much of it.
func TestBlobsToPrefetch(t *testing.T) {
	type descriptor struct {
		Digest string `json:"digest"`
	}
	layers := []descriptor{{"sha256:short"}, {""}, {"md5:d41d8cd98f00b204e9800998ecf8427e"}}
	for i := range 50_000 {
		layers = append(layers, descriptor{digest.FromString(fmt.Sprint(i)).String()})
	}
	config := digest.FromString("config")
	data, err := json.Marshal(map[string]any{"config": descriptor{config.String()}, "layers": layers})
	if err != nil {
		t.Fatal(err)
	}
	blobs := blobsOf(layout.Manifest{Data: data})
	if len(blobs) != maxPrefetched || blobs[0] != config || blobs[1] != digest.FromString("0") {
		t.Errorf("of 50,000 layers %d blobs are prefetched, %q first", len(blobs), blobs[:min(2, len(blobs))])
	}
	index, err := json.Marshal(map[string]any{"manifests": layers})
	if err != nil {
		t.Fatal(err)
	}
	if blobs := blobsOf(layout.Manifest{Data: index}); len(blobs) > 0 {
		t.Errorf("of an index, %q are prefetched", blobs)
	}
}
