package converter

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Whatever the archive, it is refused and nothing is left of it, or there are
// images in the result, and everything there is right.
func FuzzArchive(f *testing.F) {
	for _, archive := range fuzzSeeds() {
		f.Add(archive, false)
		f.Add(archive, true)
	}
	f.Fuzz(func(t *testing.T, archive []byte, recompress bool) {
		dir := t.TempDir()
		dst := toStoreIn(t, dir)
		result, err := Convert(t.Context(), FromArchive(bytes.NewReader(archive), ""), dst, Options{Recompress: recompress, Level: 1})
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
		from := fromStore(t, dir)
		if _, faults, _ := verify(t, from, result.Root, Selection{}); len(faults) > 0 {
			t.Errorf("it is wrong: %q", faults)
		}
		for _, img := range result.Images {
			for _, reference := range []string{img.Digest.String(), img.Tag} {
				if reference == "" {
					continue
				}
				if verified, _, _ := verify(t, from, result.Root, Selection{img.Name, reference}); verified == nil || verified.Images[0].Digest != img.Digest {
					t.Errorf("%s of image %q is not %s", reference, img.Name, img.Digest)
				}
			}
		}
	})
}

// fuzzSeeds are small archives of the kinds that there are.
func fuzzSeeds() [][]byte {
	img := newTestImage([]string{"app:1.0"}, []byte{}, layerTar("a", 10))
	containerd, _ := containerdDocker(img)
	tb := new(tarball)
	index, _, _ := multiPlatform(tb)
	buildx := layoutOf(tb, tagged(index, "1.0"))
	tb = new(tarball)
	m := gzippedImage(tb, img)
	signature := imageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, []byte("[]"))
	signature.Subject = &m
	tb.blob([]byte("{}")).blob([]byte("[]")).blob(marshal(signature))
	signed := layoutOf(tb, tagged(m, "1.0"), describe(v1.MediaTypeImageManifest, marshal(signature)))
	return [][]byte{
		oldDocker(img), newDocker(img), containerd, buildx, signed,
		gzipped(oldDocker(img)), gzipped(signed),
		oldDocker(newTestImage(nil)), newDocker(newTestImage(nil)),
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

func (c *checker) Commit(ctx context.Context, tree *Tree) error {
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
		data, err := f.read(ctx)
		if !there || err != nil || digest.FromBytes(data) != img.Digest {
			c.wrong = "manifest " + img.Digest.String() + " is something else, or nowhere"
		}
	}
	return nil
}
