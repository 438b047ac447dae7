package converter

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Every archive is either refused and leaves no files, or it gives images in which
// everything is right.
func FuzzArchive(f *testing.F) {
	for _, archive := range fuzzSeeds() {
		f.Add(archive, false)
		f.Add(archive, true)
	}
	f.Fuzz(func(t *testing.T, archive []byte, recompress bool) {
		dir := t.TempDir()
		dst := teststore.To(t, dir)
		result, err := Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, Options{Recompress: recompress, Level: 1})
		if err := dst.Close(); err != nil {
			t.Error(err)
		}
		if err != nil {
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("of what is refused there is %q", left)
			}
			return
		}
		if len(result.Images) == 0 {
			t.Error("there is no image")
		}
		from := teststore.From(t, dir)
		if _, faults := verified(t, from, result.Root, origin.Selection{}); len(faults) > 0 {
			t.Errorf("it is wrong: %q", faults)
		}
		for _, img := range result.Images {
			for _, reference := range []string{img.Digest.String(), img.Tag} {
				if reference == "" {
					continue
				}
				if right, _ := verified(t, from, result.Root, origin.Selection{Name: img.Name, Reference: reference}); right == nil || right.Images[0].Digest != img.Digest {
					t.Errorf("%s of image %q is not %s", reference, img.Name, img.Digest)
				}
			}
		}
	})
}

// fuzzSeeds returns a small archive of each kind.
func fuzzSeeds() [][]byte {
	img := testimage.New([]string{"app:1.0"}, []byte{}, testimage.Layer("a", 10))
	containerd, _ := testimage.ContainerdDocker(img)
	tb := new(testimage.Tarball)
	index, _, _ := testimage.MultiPlatform(tb)
	buildx := testimage.LayoutOf(tb, testimage.Tagged(index, "1.0"))
	tb = new(testimage.Tarball)
	m := testimage.GzippedImage(tb, img)
	signature := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte("[]"))
	signature.Subject = &m
	tb.Blob([]byte("{}")).Blob([]byte("[]")).Blob(testimage.Marshal(signature))
	signed := testimage.LayoutOf(tb, testimage.Tagged(m, "1.0"), testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(signature)))
	return [][]byte{
		testimage.OldDocker(img), testimage.NewDocker(img), containerd, buildx, signed,
		testimage.Gzipped(testimage.OldDocker(img)), testimage.Gzipped(signed),
		testimage.OldDocker(testimage.New(nil)), testimage.NewDocker(testimage.New(nil)),
		artifactOf([]byte{}, []byte("x")),
	}
}

// A checker is a destination that keeps nothing, and reads everything.
type checker struct {
	dir   string
	wrong string
}

func (c *checker) TempDir() string { return c.dir }
func (c *checker) Close() error    { return nil }

func (c *checker) Commit(ctx context.Context, tree *tree.Tree) error {
	for _, b := range tree.Blobs() {
		r, err := b.Open(ctx)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return err
		}
		if digest.FromBytes(data) != b.Digest || int64(len(data)) != b.Size() {
			c.wrong = "blob " + b.Digest.String() + " is something else"
		}
	}
	for _, img := range tree.Images {
		f, there := tree.Files[layout.ManifestPath(img.Name, img.Digest.String())]
		data, err := f.Document(ctx)
		if !there || err != nil || digest.FromBytes(data) != img.Digest {
			c.wrong = "manifest " + img.Digest.String() + " is something else, or nowhere"
		}
	}
	return nil
}
