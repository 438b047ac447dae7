//go:build !race

package converter_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// peak returns the most memory that do had in use, beyond what was in use before.
func peak(do func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	most := uint64(0)
	for ticks := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case <-done:
			ticks.Stop()
			return most
		case <-ticks.C:
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
		}
	}
}

// The memory for the manifests of a root is bounded for all of them together, in every
// command. A parsed manifest takes several times its bytes. The race detector takes memory of
// its own, so this test runs without it.
func TestManifestsOfARootAreBoundedTogether(t *testing.T) {
	const most = 260 << 20
	config := `{"os":"linux","rootfs":{"diff_ids":[]}}`
	head := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[`, digest.FromString(config), len(config))
	layer := `{"size":1,"digest":"` + digest.FromString("x").String() + `","urls":[` + strings.Repeat(`"",`, 63) + `""]}`
	shared := 3*unixfs.V1.LeafSize() - len(head) // bytes that all manifests have in their first three leaves
	layers := strings.Repeat(layer+",", shared/(len(layer)+1)-1) + layer
	layers += strings.Repeat(" ", shared-len(layers))
	r := newHostileRoot(t)
	for _, data := range []string{config, "x"} {
		r.tree.Files[layout.BlobPath("app", digest.FromString(data))] = r.file(data)
	}
	for n := range 16 {
		data := fmt.Sprintf(`%s%s],"annotations":{"n":"%d"}}`, head, layers, n)
		f := r.file(data)
		r.tree.Files[layout.ManifestPath("app", digest.FromString(data).String())] = f
		r.tree.Files[layout.ManifestPath("app", fmt.Sprint("v", n))] = f
	}
	from, root, size := r.open()
	if size > 6<<20 {
		t.Fatalf("the CAR file has %d bytes", size)
	}
	for command, read := range readers(t, from, root) {
		var err error
		used := peak(func() { err = read(t.Context()) })
		if used > most {
			t.Errorf("%s of a root of %d bytes takes %d MiB: %v", command, size, used>>20, err)
		}
	}
}
