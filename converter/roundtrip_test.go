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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Whatever layers an archive has and however it is saved, what is made of it is
// found right, and exported and converted again has the address that it had.
func TestRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	layers := hostileLayers()
	for _, kind := range slices.Sorted(maps.Keys(layers)) {
		t.Run(kind, func(t *testing.T) {
			roundTrips(t, random, archivesOf(t, newTestImage([]string{"app:1.0"}, layers[kind], layerTar("beside", 1000))))
		})
	}
	for i := range 8 {
		t.Run(fmt.Sprint("random ", i), func(t *testing.T) {
			var layers [][]byte
			for range random.IntN(5) {
				layers = append(layers, randomLayer(random))
			}
			roundTrips(t, random, archivesOf(t, newTestImage([]string{"app:1.0"}, layers...)))
		})
	}
	t.Run("no tar, decompressed", func(t *testing.T) {
		archive, _ := containerdDocker(newTestImage([]string{"app:1.0"}, noise))
		roundTrip(t, "containerd Docker", archive, Options{Profile: unixfs.V1, Compression: Uncompressed, Recompress: true})
	})
	t.Run("artifact", func(t *testing.T) {
		roundTrips(t, random, map[string][]byte{"OCI": artifactOf([]byte{}, []byte("{}"), noise)})
	})
}

// roundTrips converts a few of the archives with a few of the options that change
// what is written, which together are too many to try.
func roundTrips(t *testing.T, random *rand.Rand, archives map[string][]byte) {
	t.Helper()
	forms := slices.Sorted(maps.Keys(archives))
	for range 4 {
		form := forms[random.IntN(len(forms))]
		o := Options{
			Profile:     []unixfs.Profile{unixfs.V1, unixfs.V0}[random.IntN(2)],
			Compression: []Compression{Gzip, Uncompressed}[random.IntN(2)],
			Recompress:  random.IntN(2) == 0,
		}
		roundTrip(t, form, archives[form], o)
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
	dst, err := ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	result, err := Convert(t.Context(), FromArchive(bytes.NewReader(archive), ""), dst, o)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return nil
	}
	if _, faults, _ := verify(t, fromStore(t, dir), result.Root, Selection{}); len(faults) > 0 {
		t.Errorf("%s: it is wrong: %q", what, faults)
	}
	var exported bytes.Buffer
	if err := Export(t.Context(), fromStore(t, dir), result.Root, &exported, ExportOptions{}); err != nil {
		t.Errorf("%s: exporting it: %v", what, err)
		return nil
	}
	return &converted{result, exported.Bytes()}
}

// archivesOf is an image in every form that programs save one in.
func archivesOf(t *testing.T, img testImage) map[string][]byte {
	t.Helper()
	containerd, _ := containerdDocker(img)
	return map[string][]byte{
		"old Docker":        oldDocker(img),
		"new Docker":        newDocker(img),
		"containerd Docker": containerd,
		"zstd":              zstdImage(t, img),
		"gzip":              gzipped(oldDocker(img)),
	}
}

func zstdImage(t *testing.T, img testImage) []byte {
	t.Helper()
	tb := new(tarball).blob(img.config)
	m := imageManifest(img.config, v1.MediaTypeImageConfig)
	for _, l := range img.layers {
		z := zstandard(t, l)
		tb.blob(z)
		m.Layers = append(m.Layers, describe(v1.MediaTypeImageLayerZstd, z))
	}
	tb.blob(marshal(m))
	return layoutOf(tb, tagged(describe(v1.MediaTypeImageManifest, marshal(m)), "docker.io/library/app:1.0"))
}

// artifactOf is an archive of what is no image, with such blobs.
func artifactOf(blobs ...[]byte) []byte {
	tb := new(tarball).blob([]byte("{}"))
	m := imageManifest([]byte("{}"), v1.MediaTypeEmptyJSON)
	m.ArtifactType = "application/x.test"
	for _, b := range blobs {
		tb.blob(b)
		m.Layers = append(m.Layers, describe("application/octet-stream", b))
	}
	tb.blob(marshal(m))
	return layoutOf(tb, tagged(describe(v1.MediaTypeImageManifest, marshal(m)), "docker.io/library/app:1.0"))
}

var noise = random("noise", 2<<20)

// hostileLayers is what has ever been, or might be, hard to cut.
func hostileLayers() map[string][]byte {
	whole := layerTar("large", 2<<20)
	return map[string][]byte{
		"no bytes":                         {},
		"a byte":                           {'x'},
		"no entries":                       make([]byte, 1024),
		"padding alone":                    make([]byte, 3<<20),
		"padding that is no zeros":         slices.Concat(layerTar("a", 10), noise),
		"no tar":                           noise,
		"text":                             bytes.Repeat([]byte("no tar\n"), 300_000),
		"JSON":                             marshal(map[string]string{"long": string(compressible("JSON", 2000))}),
		"incompressible":                   new(tarball).file("noise", noise).close(),
		"cut off in a header":              whole[:300],
		"cut off after a header":           whole[:512],
		"cut off in a content":             whole[:1_500_000],
		"cut off in padding":               new(tarball).file("a", noise[:100_001]).close()[:100_700],
		"without an end":                   whole[:len(whole)-1024],
		"two archives":                     slices.Concat(whole, layerTar("more", 100)),
		"pax headers without an end":       extension('x', 900_000, 700_000),
		"pax headers of many MiB":          slices.Concat(extension('x', 2<<20, 2<<20), whole),
		"pax headers of many MiB, cut off": extension('x', 10<<20, 2<<20),
		"small pax headers without an end": extension('x', 60_000, 50_000),
		"a group, and pax headers without an end": slices.Concat(
			manyFiles(700)[:250<<10], extension('x', 64_000, 63_000), extension('x', 2<<20, 1_900_000)),
		"a long name without an end": extension('L', 60_000, 59_999),
		"extensions of nothing":      bytes.Repeat(extension('x', 1000, 1024), 1000),
		"petabytes":                  slices.Concat(extension('0', 5<<50, 100), whole),
		"many tiny files":            manyFiles(4000),
	}
}

// extension is a header, of that type, of an entry of size bytes, of which n follow.
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
	w := new(tarball)
	for i := range n {
		w.file(fmt.Sprintf("usr/share/%d/%d", i/100, i), compressible("tiny", i%700))
	}
	return w.close()
}

// randomLayer is a layer of files and of what may stand between, whole or not.
func randomLayer(random *rand.Rand) []byte {
	w := new(tarball)
	for i := range random.IntN(60) {
		n := random.IntN(1 << random.IntN(21))
		name := fmt.Sprintf("%0*d/%d", 1+random.IntN(200), i, n)
		switch random.IntN(8) {
		case 0:
			w.symlink(name, "elsewhere")
		case 1:
			w.entry(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
		case 2:
			w.entry(&tar.Header{Name: name, Linkname: "1", Typeflag: tar.TypeLink}, nil)
		case 3:
			w.file(name, noise[:n])
		case 4:
			w.entry(&tar.Header{Name: name, PAXRecords: map[string]string{"X.long": string(compressible(name, random.IntN(200_000)|1))}}, nil)
		default:
			w.file(name, compressible(name, n))
		}
	}
	if w.w == nil {
		return nil
	}
	layer := w.close()
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
