package push

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cut"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Layers that BuildKit and podman compress in their own ways are pulled as they were pushed. A
// second version of eStargz or zstd:chunked shares at least half of its bytes with the first;
// the log of the test has the figures.
func TestCompressedLayers(t *testing.T) {
	harness.Parallel(t)
	for _, test := range []struct {
		name      string
		newPusher func(t *testing.T) func(layer []byte, ref string)
		most      float64 // of the bytes of the second version that may be new
	}{
		{"buildkit-gzip", newBuildKit("gzip"), 1},
		{"buildkit-zstd", newBuildKit("zstd"), 1},
		{"buildkit-estargz", newBuildKit("estargz"), 0.5},
		{"podman-zstd-chunked", newChunkingPodman, 0.5},
	} {
		t.Run(test.name, func(t *testing.T) {
			harness.Parallel(t)
			caddy := newRegistry(t, t.TempDir())
			push := test.newPusher(t)
			repository := "team/" + test.name
			versions := [2][]byte{manyFiles(t, 1), manyFiles(t, 2)}
			for i, layer := range versions {
				push(layer, fmt.Sprintf("%s/%s:v%d", caddy.Host(), repository, i+1))
			}
			before, after := layerOf(t, caddy, repository, "v1"), layerOf(t, caddy, repository, "v2")
			added := share(t, before, after)
			t.Logf("%s: of %d bytes of the second version, %.3f are new", test.name, len(after), added)
			if added > test.most {
				t.Errorf("%.3f of the second version is new, want at most %.3f", added, test.most)
			}
			mustComeBack(t, caddy, repository, func() { push(versions[1], caddy.Host()+"/"+repository+":v2") })
		})
	}
}

// mustComeBack pulls v2 by its tag and its digest, deletes it, pushes it again and pulls it.
func mustComeBack(t *testing.T, caddy *harness.Caddy, repository string, push func()) {
	t.Helper()
	ref := caddy.Host() + "/" + repository
	digest := mustBe(t, caddy, 200, repository, "v2").Header.Get("Docker-Content-Digest")
	id := harness.PullBySkopeo(t, ref+":v2")
	if got := harness.PullBySkopeo(t, ref+"@"+digest); got != id {
		t.Errorf("by digest, the image is %s, and %s by tag", got, id)
	}
	podman := harness.NewPodman(t) // which checks the digests of the unpacked layers
	podman("pull", "--quiet", "--tls-verify=false", ref+":v2")
	if got := "sha256:" + podman("image", "inspect", "--format={{.Id}}", ref+":v2"); got != id {
		t.Errorf("podman pulls %s, and skopeo %s", got, id)
	}
	send(t, 202, "DELETE", caddy.URL+"/v2/"+repository+"/manifests/"+digest, "")
	mustBe(t, caddy, 404, repository, "v2")
	push()
	if got := harness.PullBySkopeo(t, ref+":v2"); got != id {
		t.Errorf("pushed again, the image is %s, and was %s", got, id)
	}
}

// newBuildKit returns a function that starts a BuildKit, and returns a function that builds an
// image of one layer, with an attestation of its provenance, and pushes both.
func newBuildKit(compression string) func(t *testing.T) func(layer []byte, ref string) {
	return func(t *testing.T) func(layer []byte, ref string) {
		d := harness.NewTrixieDocker(t, "containerd")
		return func(layer []byte, ref string) {
			t.Helper()
			built := d.Build(t, map[string]string{"Dockerfile": "FROM scratch\nADD layer.tar /\n", "layer.tar": string(layer)},
				"--build-arg=SOURCE_DATE_EPOCH=0", "--provenance=mode=max",
				fmt.Sprintf("--output=type=image,name=%s,push=true,compression=%s,force-compression=true", ref, compression))
			host, repository, _ := strings.Cut(ref, "/")
			repository, tag, _ := strings.Cut(repository, ":")
			if got := harness.Get(t, "http://"+host+"/v2/"+repository+"/manifests/"+tag).Header.Get("Docker-Content-Digest"); got != built {
				t.Errorf("BuildKit pushes %s, and the registry has %s", built, got)
			}
		}
	}
}

// newChunkingPodman starts a podman that pushes layers as zstd:chunked.
func newChunkingPodman(t *testing.T) func(layer []byte, ref string) {
	podman := harness.NewPodman(t)
	return func(layer []byte, ref string) {
		t.Helper()
		_, loaded, _ := strings.Cut(podman("load", "--quiet", "--input="+harness.ArchiveOfTars(t, "team/app:v1", layer)), ": ")
		podman("push", "--quiet", "--tls-verify=false", "--format=oci", "--compression-format=zstd:chunked", loaded, ref)
	}
}

// manyFiles returns a layer of 640 files, 20 MB of text that compresses well. In the second
// version, every thirty-second file is another one.
func manyFiles(t *testing.T, version int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 640 {
		if i%32 == 0 { // a builder would give a directory that it makes the current time
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("%d/", i/32), Mode: 0o755}); err != nil {
				t.Fatal(err)
			}
		}
		seed := uint64(i)
		if version > 1 && i%32 == 7 {
			seed += 1000
		}
		content := text(rand.New(rand.NewPCG(seed, 1)))
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d/%d.txt", i/32, i), Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// text returns between 1 and 64 KiB of words.
func text(random *rand.Rand) []byte {
	var b []byte
	for size := 1<<10 + random.IntN(63<<10); len(b) < size; {
		b = fmt.Appendf(b, "%x ", random.IntN(1<<16))
	}
	return b
}

// layerOf returns the only layer of an image, or of the first image of an index.
func layerOf(t *testing.T, caddy *harness.Caddy, repository, reference string) []byte {
	t.Helper()
	var m struct {
		Layers, Manifests []harness.Descriptor
	}
	if err := json.Unmarshal([]byte(mustBe(t, caddy, 200, repository, reference).Text), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) > 0 {
		return layerOf(t, caddy, repository, m.Manifests[0].Digest)
	}
	if len(m.Layers) != 1 {
		t.Fatalf("%s:%s has %d layers", repository, reference, len(m.Layers))
	}
	content := harness.Get(t, caddy.URL+"/v2/"+repository+"/blobs/"+m.Layers[0].Digest).Text
	if harness.DigestOf([]byte(content)) != m.Layers[0].Digest {
		t.Fatal("the layer has another digest")
	}
	return []byte(content)
}

// share returns the fraction of a layer's bytes in leaves that an earlier layer lacks.
func share(t *testing.T, before, after []byte) float64 {
	t.Helper()
	known := leavesOf(t, before)
	added := 0
	for c, size := range leavesOf(t, after) {
		if known[c] == 0 {
			added += size
		}
	}
	return float64(added) / float64(len(after))
}

// leavesOf returns the sizes of the leaves of a pushed blob.
func leavesOf(t *testing.T, content []byte) map[cid.Cid]int {
	t.Helper()
	c := cut.NewCutter(unixfs.V1)
	defer c.Close()
	if _, err := c.Write(content); err != nil {
		t.Fatal(err)
	}
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	leaves := map[cid.Cid]int{}
	for i := range f.Table.Leaves {
		leaves[f.Table.CID(i)] = f.Table.Len(i)
	}
	return leaves
}
