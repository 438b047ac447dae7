package convert

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The converter follows docs/format-1.md: format1.py, which was written from that page
// alone, gives the same addresses.
func TestFormat1IsWhatItsPageSays(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "python3")
	small := savedImages(t, savedImage{tags: []string{"team/app:v1", "example.org:5000/other:latest"}, layers: []string{mixedLayer(t, 40, 70_000)}})
	several := savedImages(t,
		savedImage{tags: []string{"team/app:v1", "docker.io/library/nginx:1"}, layers: []string{mixedLayer(t, 300, 1_200_000), mixedLayer(t, 20, 70_000)}},
		savedImage{tags: []string{"team/app:v2"}, layers: []string{mixedLayer(t, 20, 70_000), mixedLayer(t, 20, 70_000)}},
		savedImage{layers: []string{strings.Repeat("\x00", 1024), "no tar"}},
	)
	chunked := savedImages(t, savedImage{tags: []string{"team/app:v1"}, layers: []string{mixedLayer(t, 300, 1_200_000)}, as: framed})
	members := savedImages(t, savedImage{tags: []string{"team/app:v1"}, layers: []string{mixedLayer(t, 300, 1_200_000)}, as: inMembers})
	zeros := savedImages(t, savedImage{tags: []string{"team/app:v1"}, layers: []string{strings.Repeat("\x00", 20<<20)}, as: inMembers})
	for _, test := range []struct {
		name, archive string
		args          []string
	}{
		{"default", small, nil},
		{"level 7", small, []string{"--level=7"}},
		{"other profile", small, []string{"--cid-profile=unixfs-v0-2015"}},
		{"uncompressed", several, []string{"--compression=none"}},
		{"gzip", members, nil},
		{"gzip, other profile", members, []string{"--cid-profile=unixfs-v0-2015"}},
		{"gzip of zeros", zeros, nil},
		{"zstd", chunked, nil},
		{"zstd, other profile", chunked, []string{"--cid-profile=unixfs-v0-2015"}},
		{"uncompressed, other profile", several, []string{"--compression=none", "--cid-profile=unixfs-v0-2015"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			harness.Parallel(t)
			printed := harness.Run(t, harness.Converter(t, test.archive, append(test.args, "--quiet", "--store="+t.TempDir())...))
			_, address, _ := strings.Cut(printed, "/")
			address, _, _ = strings.Cut(address, "/")
			second := harness.WithInput(t, exec.Command("python3", append([]string{"format1.py"}, test.args...)...), test.archive)
			if got := strings.TrimSpace(harness.Run(t, second)); got != address {
				t.Errorf("format1.py gives %s, and the converter %s", got, address)
			}
		})
	}
}

type savedImage struct {
	tags   []string
	layers []string
	as     func(t *testing.T, layer string) []byte // the form of the layers; nil as they are
}

// inMembers compresses a layer with gzip, with one member for each MiB.
func inMembers(_ *testing.T, layer string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for len(layer) > 0 {
		n := min(len(layer), 1<<20)
		z.Reset(&b)
		io.WriteString(z, layer[:n])
		z.Close()
		layer = layer[n:]
	}
	return b.Bytes()
}

// framed compresses a layer as zstd:chunked does: into many frames of any size, and
// skippable frames at the end.
func framed(t *testing.T, layer string) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r := rand.New(rand.NewPCG(1, 1))
	var b []byte
	for len(layer) > 0 {
		n := min(len(layer), 1+r.IntN(1<<r.IntN(20)))
		b = z.EncodeAll([]byte(layer[:n]), b)
		layer = layer[n:]
	}
	for _, n := range []int{70_000, 40_000, 64} {
		b = append(b, 0x50, 0x2a, 0x4d, 0x18, byte(n), byte(n>>8), byte(n>>16), 0)
		b = append(b, mixed(r, n)...)
	}
	return b
}

// savedImages writes an archive as docker save did before it wrote OCI layouts.
func savedImages(t *testing.T, images ...savedImage) (file string) {
	t.Helper()
	var a harness.Archive
	var list []harness.SavedImage
	for i, img := range images {
		config := map[string]any{"architecture": "amd64", "os": "linux"}
		saved := harness.SavedImage{Config: fmt.Sprintf("config-%d", i), RepoTags: img.tags}
		var diffIDs []string
		for j, layer := range img.layers {
			name := fmt.Sprintf("%d-%d/layer.tar", i, j)
			saved.Layers = append(saved.Layers, name)
			diffIDs = append(diffIDs, harness.DigestOf([]byte(layer)))
			content := []byte(layer)
			if img.as != nil {
				content = img.as(t, layer)
			}
			a = append(a, harness.Entry{Header: tar.Header{Name: name, Mode: 0o644}, Content: content})
		}
		config["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffIDs}
		a = append(a, harness.Entry{Header: tar.Header{Name: saved.Config, Mode: 0o644}, Content: marshalled(t, config)})
		list = append(list, saved)
	}
	return append(a, harness.Entry{Header: tar.Header{Name: "manifest.json", Mode: 0o644}, Content: marshalled(t, list)}).Write(t)
}

func marshalled(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mixedLayer returns a layer of several small files, a file of large bytes, a link, and
// a name that needs an extension header. Parts of it compress well.
func mixedLayer(t *testing.T, files, large int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(files), uint64(large)))
	var a harness.Archive
	add := func(name string, n int) {
		a = append(a, harness.Entry{Header: tar.Header{Name: name, Mode: 0o644}, Content: mixed(r, n)})
	}
	for i := range files {
		add(fmt.Sprintf("etc/%d/file-%d", i%7, i), r.IntN(3000))
	}
	add("usr/bin/large", large)
	add("usr/share/"+strings.Repeat("é", 150), 100)
	a = append(a, harness.Entry{Header: tar.Header{Name: "usr/bin/link", Linkname: "large", Typeflag: tar.TypeSymlink}})
	return harness.ReadFile(t, a.Write(t))
}

// mixed returns n bytes of text, hexadecimal noise and zeros, in random order.
func mixed(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		switch r.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "%x", r.Uint64())
		case 1:
			b.Write(make([]byte, r.IntN(300)))
		default:
			for range r.IntN(200) {
				fmt.Fprintf(&b, "%d line\n", r.IntN(1+r.IntN(1000)))
			}
		}
	}
	return b.Bytes()[:n]
}
