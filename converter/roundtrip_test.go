package converter

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/export"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The result of converting any archive passes verify, and has the same address after it
// is exported and converted again.
func TestRoundTrip(t *testing.T) {
	var turn turn
	layers := hostileLayers()
	for _, kind := range slices.Sorted(maps.Keys(layers)) {
		t.Run(kind, func(t *testing.T) {
			turn.roundTrips(t, archivesOf(t, testimage.New([]string{"app:1.0"}, layers[kind], testimage.Layer("beside", 1000))))
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 6 {
		t.Run(fmt.Sprint("random ", i), func(t *testing.T) {
			var layers [][]byte
			for range random.IntN(4) {
				layers = append(layers, randomLayer(random))
			}
			turn.roundTrips(t, archivesOf(t, testimage.New([]string{"app:1.0"}, layers...)))
		})
	}
	t.Run("no tar, decompressed", func(t *testing.T) {
		archive, _ := testimage.ContainerdDocker(testimage.New([]string{"app:1.0"}, noise))
		roundTrip(t, "containerd Docker", archive, Options{Profile: unixfs.V1, Compression: blob.Uncompressed, Recompress: true})
	})
	t.Run("artifact", func(t *testing.T) {
		turn.roundTrips(t, map[string][]byte{"OCI": artifactOf([]byte{}, []byte("{}"), noise)})
	})
}

// A turn says which form of an archive is next, and which options. Trying every
// combination for each layer would take too long. Five forms and eight options have no
// common divisor, so all pairs come up in turn.
type turn int

// roundTrips converts two of the archives.
func (n *turn) roundTrips(t *testing.T, archives map[string][]byte) {
	t.Helper()
	forms := slices.Sorted(maps.Keys(archives))
	for range 2 {
		*n++
		form := forms[int(*n)%len(forms)]
		roundTrip(t, form, archives[form], Options{
			Profile:     []unixfs.Profile{unixfs.V1, unixfs.V0}[*n>>1&1],
			Compression: []blob.Compression{blob.Gzip, blob.Uncompressed}[*n>>2&1],
			Recompress:  *n&1 == 0,
		})
	}
}

func roundTrip(t *testing.T, form string, archive []byte, o Options) {
	t.Helper()
	what := fmt.Sprintf("%s, %s, %s, recompressed %t", form, o.Profile, o.Compression, o.Recompress)
	first := mustBeRight(t, what, archive, o)
	if first == nil {
		return
	}
	if again := mustBeRight(t, what+", exported", first.exported, o); again != nil && again.Root != first.Root {
		t.Errorf("%s: exported and converted again, it is at %s, and was at %s", what, again.Root, first.Root)
	}
}

type converted struct {
	*Result
	exported []byte
}

// mustBeRight converts an archive, and has the result verified and exported.
func mustBeRight(t *testing.T, what string, archive []byte, o Options) *converted {
	t.Helper()
	dir := t.TempDir()
	dst, err := destination.ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	result, err := Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, o)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return nil
	}
	if _, faults := verified(t, teststore.From(t, dir), result.Root, origin.Selection{}); len(faults) > 0 {
		t.Errorf("%s: it is wrong: %q", what, faults)
	}
	var exported bytes.Buffer
	if err := export.WriteArchive(t.Context(), teststore.From(t, dir), result.Root, &exported, export.Options{}); err != nil {
		t.Errorf("%s: exporting it: %v", what, err)
		return nil
	}
	return &converted{result, exported.Bytes()}
}

// archivesOf returns an image in every form in which programs save one.
func archivesOf(t *testing.T, img testimage.Image) map[string][]byte {
	t.Helper()
	containerd, _ := testimage.ContainerdDocker(img)
	return map[string][]byte{
		"old Docker":        testimage.OldDocker(img),
		"new Docker":        testimage.NewDocker(img),
		"containerd Docker": containerd,
		"zstd":              zstdImage(t, img),
		"gzip":              testimage.Gzipped(testimage.OldDocker(img)),
	}
}

func zstdImage(t *testing.T, img testimage.Image) []byte {
	t.Helper()
	tb := new(testimage.Tarball).Blob(img.Config)
	m := testimage.ImageManifest(img.Config, v1.MediaTypeImageConfig)
	for _, l := range img.Layers {
		z := testimage.Zstandard(t, l)
		tb.Blob(z)
		m.Layers = append(m.Layers, testimage.Describe(v1.MediaTypeImageLayerZstd, z))
	}
	tb.Blob(testimage.Marshal(m))
	return testimage.LayoutOf(tb, testimage.Tagged(testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m)), "docker.io/library/app:1.0"))
}

// artifactOf returns an archive of an artifact with the given blobs.
func artifactOf(blobs ...[]byte) []byte {
	tb := new(testimage.Tarball).Blob([]byte("{}"))
	m := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON)
	m.ArtifactType = "application/x.test"
	for _, b := range blobs {
		tb.Blob(b)
		m.Layers = append(m.Layers, testimage.Describe("application/octet-stream", b))
	}
	tb.Blob(testimage.Marshal(m))
	return testimage.LayoutOf(tb, testimage.Tagged(testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m)), "docker.io/library/app:1.0"))
}

var noise = testimage.Random("noise", 5<<18) // more than a piece

// hostileLayers returns layers that are, or may be, hard to cut.
func hostileLayers() map[string][]byte {
	whole := testimage.Layer("large", 3<<19)
	return map[string][]byte{
		"no bytes":                         {},
		"a byte":                           {'x'},
		"no entries":                       make([]byte, 1024),
		"padding alone":                    make([]byte, 3<<19),
		"padding that is no zeros":         slices.Concat(testimage.Layer("a", 10), noise),
		"no tar":                           noise,
		"text":                             bytes.Repeat([]byte("no tar\n"), 200_000),
		"JSON":                             testimage.Marshal(map[string]string{"long": string(testimage.Compressible("JSON", 2000))}),
		"incompressible":                   new(testimage.Tarball).File("noise", noise).Close(),
		"cut off in a header":              whole[:300],
		"cut off after a header":           whole[:512],
		"cut off in a content":             whole[:1_200_000],
		"cut off in padding":               new(testimage.Tarball).File("a", noise[:100_001]).Close()[:100_700],
		"without an end":                   whole[:len(whole)-1024],
		"two archives":                     slices.Concat(whole, testimage.Layer("more", 100)),
		"pax headers without an end":       extension('x', 900_000, 700_000),
		"pax headers of many MiB":          slices.Concat(extension('x', 5<<18, 5<<18), whole),
		"pax headers of many MiB, cut off": extension('x', 10<<20, 5<<18),
		"small pax headers without an end": extension('x', 60_000, 50_000),
		"a group, and pax headers without an end": slices.Concat(
			manyFiles(700)[:250<<10], extension('x', 64_000, 63_000), extension('x', 2<<20, 1_200_000)),
		"a long name without an end": extension('L', 60_000, 59_999),
		"extensions of nothing":      bytes.Repeat(extension('x', 1000, 1024), 1000),
		"petabytes":                  slices.Concat(extension('0', 5<<50, 100), whole),
		"many tiny files":            manyFiles(1500),
	}
}

// extension returns a header of the given type that claims size bytes, and n of these.
func extension(typeflag byte, size int64, n int) []byte {
	var b bytes.Buffer
	h := tar.Header{Name: "x", Size: size, Format: tar.FormatGNU}
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		panic(err)
	}
	header := b.Bytes()
	header[156] = typeflag
	copy(header[148:156], "        ")
	sum := 0
	for _, v := range header {
		sum += int(v)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return append(header, noise[:n]...)
}

func manyFiles(n int) []byte {
	w := new(testimage.Tarball)
	for i := range n {
		w.File(fmt.Sprintf("usr/share/%d/%d", i/100, i), testimage.Compressible("tiny", i%700))
	}
	return w.Close()
}

// randomLayer returns a tar of files and other entries, which may be cut off.
func randomLayer(random *rand.Rand) []byte {
	w := new(testimage.Tarball)
	for i := range random.IntN(40) {
		n := random.IntN(1 << random.IntN(21))
		name := fmt.Sprintf("%0*d/%d", 1+random.IntN(200), i, n)
		switch random.IntN(8) {
		case 0:
			w.Symlink(name, "elsewhere")
		case 1:
			w.Entry(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
		case 2:
			w.Entry(&tar.Header{Name: name, Linkname: "1", Typeflag: tar.TypeLink}, nil)
		case 3:
			w.File(name, noise[:n])
		case 4:
			w.Entry(&tar.Header{Name: name, PAXRecords: map[string]string{"X.long": string(testimage.Compressible(name, random.IntN(200_000)|1))}}, nil)
		default:
			w.File(name, testimage.Compressible(name, n))
		}
	}
	if w.W == nil {
		return nil
	}
	layer := w.Close()
	switch random.IntN(4) {
	case 0:
		return layer[:random.IntN(len(layer))]
	case 1:
		return append(layer, make([]byte, random.IntN(10_240))...)
	case 2:
		layer[random.IntN(len(layer))] ^= 1
	}
	return layer
}
