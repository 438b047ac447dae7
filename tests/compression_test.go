package tests

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// However layers are stored, every client pulls the image, and its layers are
// the same tars.
func TestCompression(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	compressed := img.compressed(t, "gzip")
	for _, as := range []struct {
		name   string
		img    image
		flag   string
		layers string // media type
	}{
		{"none", img, "--compression=none", "application/vnd.docker.image.rootfs.diff.tar"},
		{"level", img, "--level=9", gzippedTars},
		{"recompress", compressed, "--recompress", gzippedTars},
	} {
		t.Run(as.name, func(t *testing.T) {
			store := t.TempDir()
			caddy := newCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
			ref := convert(t, as.img.archive, as.flag, "--store="+store, "--registry="+caddy.registry)
			m, _ := fetchManifest(t, ref)
			for _, layer := range m.Layers {
				if layer.MediaType != as.layers {
					t.Errorf("a layer is of type %s, want %s", layer.MediaType, as.layers)
				}
			}
			for _, client := range clients {
				if client.name == "crane" && as.name == "none" {
					continue // it takes every layer of a registry for gzip
				}
				t.Run(client.name, func(t *testing.T) {
					t.Parallel()
					as.img.mustBe(t, client.pull(t, ref))
				})
			}
		})
	}
}

// Aligned layers are the same leaves, whether they came as plain tars or were
// compressed in between. What stays compressed is told.
func TestRecompressedLayersAreTheSame(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	layers := func(archive string, args ...string) (layers []string, notes string) {
		store := t.TempDir()
		caddy := newCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
		cmd := converter(t, archive, append(args, "--store="+store, "--registry="+caddy.registry)...)
		ref, notes, err := try(cmd)
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, notes)
		}
		m, _ := fetchManifest(t, strings.TrimSpace(ref))
		for _, layer := range m.Layers {
			layers = append(layers, layer.Digest)
		}
		return layers, notes
	}
	want, _ := layers(img.archive)
	for _, format := range []string{"gzip", "zstd"} {
		compressed := img.compressed(t, format).archive
		kept, notes := layers(compressed)
		if line := "5 layers came compressed and are kept as they are"; strings.Join(kept, " ") == strings.Join(want, " ") || !strings.Contains(notes, line) {
			t.Errorf("%s: without --recompress, layers are %v, and standard error says\n%s", format, kept, notes)
		}
		if got, notes := layers(compressed, "--recompress"); strings.Join(got, " ") != strings.Join(want, " ") || strings.Contains(notes, "came compressed") {
			t.Errorf("%s: layers are %v, and of the plain archive %v\n%s", format, got, want, notes)
		}
	}
}

// compressed is the image as an OCI archive, whose layers are compressed and
// whose config is another.
func (img image) compressed(t *testing.T, format string) image {
	t.Helper()
	needs(t, "skopeo")
	archive := filepath.Join(t.TempDir(), "compressed.tar")
	name := "oci-archive:" + archive + ":" + imageName + ":v1"
	run(t, exec.Command("skopeo", "copy", "--dest-compress-format="+format, "docker-archive:"+img.archive, name))
	return image{archive, config(t, run(t, exec.Command("skopeo", "inspect", "--raw", name)))}
}
