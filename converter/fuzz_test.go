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

// Whatever the archive, it is refused, or everything in the result is what it is
// called.
func FuzzArchive(f *testing.F) {
	for _, archive := range fuzzSeeds() {
		f.Add(archive, false)
		f.Add(archive, true)
	}
	f.Fuzz(func(t *testing.T, archive []byte, recompress bool) {
		dst := &checker{dir: t.TempDir()}
		result, err := Convert(t.Context(), FromArchive(bytes.NewReader(archive), ""), dst, Options{Recompress: recompress, Level: 1})
		if dst.wrong != "" {
			t.Error(dst.wrong)
		}
		if err == nil && len(result.Images) == 0 {
			t.Error("there is no image")
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
