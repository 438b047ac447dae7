package images

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A publisher may list any number of blobs, and blobs that do not exist.
func TestBlobsToPrefetch(t *testing.T) {
	layers := []descriptor{{"sha256:short", 1}, {"", 1}, {"md5:d41d8cd98f00b204e9800998ecf8427e", 1}, {digest.FromString("negative"), -1}, {digest.FromString("empty"), 0}}
	for i := range 50_000 {
		layers = append(layers, descriptor{digest.FromString(fmt.Sprint(i)), int64(i + 1)})
	}
	config := descriptor{digest.FromString("config"), 1}
	data, err := json.Marshal(map[string]any{"config": config, "layers": layers})
	if err != nil {
		t.Fatal(err)
	}
	blobs := blobsOf(layout.Manifest{Data: data})
	if len(blobs) != maxPrefetched || blobs[0] != config || blobs[1].Digest != digest.FromString("0") {
		t.Errorf("of 50,000 layers %d blobs are prefetched, %v first", len(blobs), blobs[:min(2, len(blobs))])
	}
	index, err := json.Marshal(map[string]any{"manifests": layers})
	if err != nil {
		t.Fatal(err)
	}
	if blobs := blobsOf(layout.Manifest{Data: index}); len(blobs) > 0 {
		t.Errorf("of an index, %v are prefetched", blobs)
	}
}

// A client that asks only for a manifest has little prefetched. A client that asks for
// blobs has the next ones prefetched, at most 64 MiB ahead of it.
func TestPrefetchFollowsTheClient(t *testing.T) {
	layer := func(i int) digest.Digest { return digest.FromString(fmt.Sprint(i)) }
	config := digest.FromString("config")
	p := &prefetch{begun: map[digest.Digest]int64{}, asked: 1000, waiting: []descriptor{{config, 5000}}}
	for i := range 60 {
		p.waiting = append(p.waiting, descriptor{layer(i), 10 << 20})
	}
	begin := func() (bytes int64, blobs int) {
		if !p.enter() || p.enter() {
			t.Fatal("two goroutines prefetch the same image, or none")
		}
		for d, ok := p.next(); ok; d, ok = p.next() {
			bytes += d.Size
			blobs++
		}
		return bytes, blobs
	}
	if bytes, _ := begin(); bytes != 5000 {
		t.Errorf("%d bytes were prefetched because of a manifest of 1,000", bytes)
	}
	p.take(layer(0), 1)
	if bytes, _ := begin(); bytes != 0 {
		t.Errorf("%d bytes were prefetched because of one byte", bytes)
	}
	p.take(config, -1)
	if bytes, _ := begin(); bytes != 0 {
		t.Errorf("%d bytes were prefetched because of a small config", bytes)
	}
	p.take(layer(1), -1)
	if bytes, blobs := begin(); bytes > maxAhead || blobs != 6 {
		t.Errorf("%d bytes in %d blobs were prefetched because of a layer", bytes, blobs)
	}
	p.take(layer(2), -1) // which was prefetched
	if _, blobs := begin(); blobs != 1 {
		t.Errorf("%d blobs were prefetched because a client asked for one", blobs)
	}
	p.giveUp()
	if p.take(layer(3), -1); p.enter() {
		t.Error("a prefetch goes on after it was given up")
	}
}
