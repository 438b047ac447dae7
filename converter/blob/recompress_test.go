package blob

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Every form that a layer has in an archive gives the same aligned layer.
func TestRecompress(t *testing.T) {
	layer := testimage.Layer("a", 500_000)
	for compression, mediaType := range map[Compression]string{Gzip: layout.DockerLayerGzip, Uncompressed: layout.DockerLayer} {
		ws := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1, Compression: compression, Recompress: true})
		want := readLayer(t, ws, layer)
		for name, bytes := range map[string][]byte{"gzip": testimage.Gzipped(layer), "zstd": testimage.Zstandard(t, layer)} {
			c := readLayer(t, ws, bytes)
			got, err := c.AsLayer()
			if err != nil {
				t.Fatal(err)
			}
			if got.File.CID != want.aligned.File.CID || c.LayerType() != mediaType || c.DiffID != digest.FromBytes(layer) {
				t.Errorf("%s to %s: %s of type %s with the contents %s", name, compression, got.File.CID, c.LayerType(), c.DiffID)
			}
			if c.kept.Digest != digest.FromBytes(bytes) || c.Digest != c.kept.Digest {
				t.Errorf("%s to %s: what came is not kept", name, compression)
			}
		}
	}
}

// Decompressing a layer on the way does not change how it is cut, even if it is short.
func TestRecompressedOrNotWhatCameIsCutAlike(t *testing.T) {
	for _, inside := range [][]byte{{}, []byte("no tar"), make([]byte, 512), testimage.Layer("a", 100_000)} {
		var cuts []int
		for _, recompress := range []bool{false, true} {
			ws := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1, Recompress: recompress})
			cuts = append(cuts, len(readLayer(t, ws, testimage.Gzipped(inside)).kept.File.Table.Leaves))
		}
		if cuts[0] != 1 || cuts[1] != 1 {
			t.Errorf("%d bytes, compressed at once, have %d leaves, and %d where they are recompressed", len(inside), cuts[0], cuts[1])
		}
	}
}

// A file that is not a layer, or is damaged, is kept as it came and in no other form.
func TestRecompressingWhatDoesNotDecompress(t *testing.T) {
	z := testimage.Gzipped(testimage.Layer("a", 500_000))
	for name, damaged := range map[string][]byte{
		"cut off":    z[:len(z)/2],
		"damaged":    append(bytes.Clone(z[:len(z)-3]), 1, 2, 3),
		"no gzip":    append([]byte{0x1f, 0x8b}, testimage.Random("x", 2000)...),
		"no zstd":    append([]byte{0x28, 0xb5, 0x2f, 0xfd}, testimage.Random("x", 2000)...),
		"gzip, text": append(bytes.Clone(z), "and so on"...),
	} {
		ws := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1, Recompress: true})
		c := readLayer(t, ws, damaged)
		blob, err := c.AsLayer()
		if err != nil || blob != c.kept || c.DiffID != "" || blob.Digest != digest.FromBytes(damaged) {
			t.Errorf("%s: %v, contents %q", name, err, c.DiffID)
		}
		if files, _ := os.ReadDir(ws.Dir); len(files) != 1 {
			t.Errorf("%s: there are %d files, want what came alone", name, len(files))
		}
	}
}

func TestCancelledWhileRecompressing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	ws := workspaceOf(ctx, t, Form{Profile: unixfs.V1, Recompress: true})
	z := testimage.Gzipped(testimage.Layer("a", 500_000))
	if _, err := ws.Read("layer", int64(len(z)), bytes.NewReader(z)); !errors.Is(err, why) {
		t.Errorf("the error is %v, want %v", err, why)
	}
}

// Without compression, a layer is its tar to the byte, cut at the same places as a
// compressed one.
func TestUncompressed(t *testing.T) {
	layer := testimage.GoldenLayer(1)
	plain := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1, Compression: Uncompressed})
	c := readLayer(t, plain, layer)
	if c.kept != c.aligned || c.kept.Digest != digest.FromBytes(layer) || c.DiffID != c.kept.Digest {
		t.Errorf("the layer is %s, and its contents %s", c.kept.Digest, c.DiffID)
	}
	gzip := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1})
	if got, want := len(c.kept.File.Table.Leaves), len(readLayer(t, gzip, layer).aligned.File.Table.Leaves); got != want || got < 4 {
		t.Errorf("it has %d leaves, and %d compressed", got, want)
	}
}

func readLayer(t *testing.T, ws *Workspace, layer []byte) *Content {
	t.Helper()
	c, err := ws.Read("layer", int64(len(layer)), bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
