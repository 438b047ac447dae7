package converter

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A layer's form in the archive makes no difference to the layer that we align.
func TestRecompress(t *testing.T) {
	layer := layerTar("a", 500_000)
	for compression, mediaType := range map[Compression]string{Gzip: layout.DockerLayerGzip, Uncompressed: layout.DockerLayer} {
		ws := &workspace{ctx: t.Context(), dir: t.TempDir(), profile: unixfs.V1, compression: compression, recompress: true}
		want := readLayer(t, ws, layer)
		for name, bytes := range map[string][]byte{"gzip": gzipped(layer), "zstd": zstandard(t, layer)} {
			c := readLayer(t, ws, bytes)
			got, err := c.asLayer()
			if err != nil {
				t.Fatal(err)
			}
			if got.File.CID != want.aligned.File.CID || c.layerType() != mediaType || c.diffID != digest.FromBytes(layer) {
				t.Errorf("%s to %s: %s of type %s with the contents %s", name, compression, got.File.CID, c.layerType(), c.diffID)
			}
			if c.kept.Digest != digest.FromBytes(bytes) || c.digest != c.kept.Digest {
				t.Errorf("%s to %s: what came is not kept", name, compression)
			}
		}
	}
}

// Of what is no layer, or damaged, only what came is left.
func TestRecompressingWhatDoesNotDecompress(t *testing.T) {
	z := gzipped(layerTar("a", 500_000))
	for name, damaged := range map[string][]byte{
		"cut off":    z[:len(z)/2],
		"damaged":    append(bytes.Clone(z[:len(z)-3]), 1, 2, 3),
		"no gzip":    append([]byte{0x1f, 0x8b}, random("x", 2000)...),
		"no zstd":    append([]byte{0x28, 0xb5, 0x2f, 0xfd}, random("x", 2000)...),
		"gzip, text": append(bytes.Clone(z), "and so on"...),
	} {
		ws := &workspace{ctx: t.Context(), dir: t.TempDir(), profile: unixfs.V1, recompress: true}
		c := readLayer(t, ws, damaged)
		blob, err := c.asLayer()
		if err != nil || blob != c.kept || c.diffID != "" || blob.Digest != digest.FromBytes(damaged) {
			t.Errorf("%s: %v, contents %q", name, err, c.diffID)
		}
		if files, _ := os.ReadDir(ws.dir); len(files) != 1 {
			t.Errorf("%s: there are %d files, want what came alone", name, len(files))
		}
	}
}

func TestCancelledWhileRecompressing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	ws := &workspace{ctx: ctx, dir: t.TempDir(), profile: unixfs.V1, recompress: true}
	z := gzipped(layerTar("a", 500_000))
	if _, err := ws.readContent("layer", int64(len(z)), bytes.NewReader(z)); !errors.Is(err, why) {
		t.Errorf("the error is %v, want %v", err, why)
	}
}

// Without compression a layer is the tar to the byte, cut where a compressed one
// is cut.
func TestUncompressed(t *testing.T) {
	layer := goldenLayer(1)
	plain := &workspace{ctx: t.Context(), dir: t.TempDir(), profile: unixfs.V1, compression: Uncompressed}
	c := readLayer(t, plain, layer)
	if c.kept != c.aligned || c.kept.Digest != digest.FromBytes(layer) || c.diffID != c.kept.Digest {
		t.Errorf("the layer is %s, and its contents %s", c.kept.Digest, c.diffID)
	}
	gzip := &workspace{ctx: t.Context(), dir: t.TempDir(), profile: unixfs.V1}
	if got, want := len(c.kept.File.Table.Leaves), len(readLayer(t, gzip, layer).aligned.File.Table.Leaves); got != want || got < 4 {
		t.Errorf("it has %d leaves, and %d compressed", got, want)
	}
}

func readLayer(t *testing.T, ws *workspace, layer []byte) *content {
	t.Helper()
	c, err := ws.readContent("layer", int64(len(layer)), bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
