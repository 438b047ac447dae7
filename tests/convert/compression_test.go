package convert

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// However layers are stored, every client pulls the image, and its layers are
// the same tars.
func TestEveryClientPullsEveryCompression(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	compressed := compressed(t, img, "gzip")
	for _, as := range []struct {
		name   string
		img    harness.Image
		flag   string
		layers string // media type
	}{
		{"none", img, "--compression=none", "application/vnd.docker.image.rootfs.diff.tar"},
		{"level", img, "--level=9", harness.DockerLayerType},
		{"recompress", compressed, "--recompress", harness.DockerLayerType},
	} {
		t.Run(as.name, func(t *testing.T) {
			store := t.TempDir()
			caddy := harness.NewCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
			ref := harness.Convert(t, as.img.Archive, as.flag, "--store="+store, "--registry="+caddy.URL)
			m, _ := harness.FetchManifest(t, ref)
			for _, layer := range m.Layers {
				if layer.MediaType != as.layers {
					t.Errorf("a layer is of type %s, want %s", layer.MediaType, as.layers)
				}
			}
			for _, client := range harness.Clients {
				if client.Name == "crane" && as.name == "none" {
					continue // it takes every layer of a registry for gzip
				}
				t.Run(client.Name, func(t *testing.T) {
					harness.Parallel(t)
					as.img.MustBe(t, client.Pull(t, ref))
				})
			}
		})
	}
}

// Aligned layers are the same leaves, whether they came as plain tars or were
// compressed in between. What stays compressed is told.
func TestRecompressedLayersAreThoseOfPlainTars(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	layers := func(archive string, args ...string) (layers []string, notes string) {
		store := t.TempDir()
		caddy := harness.NewCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
		cmd := harness.Converter(t, archive, append(args, "--store="+store, "--registry="+caddy.URL)...)
		ref, notes, err := harness.Try(cmd)
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, notes)
		}
		m, _ := harness.FetchManifest(t, strings.TrimSpace(ref))
		for _, layer := range m.Layers {
			layers = append(layers, layer.Digest)
		}
		return layers, notes
	}
	want, _ := layers(img.Archive)
	for _, format := range []string{"gzip", "zstd"} {
		compressed := compressed(t, img, format).Archive
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
func compressed(t *testing.T, img harness.Image, format string) harness.Image {
	t.Helper()
	harness.Need(t, "skopeo")
	archive := filepath.Join(t.TempDir(), "compressed.tar")
	name := "oci-archive:" + archive + ":" + harness.ImageName + ":v1"
	harness.Run(t, exec.Command("skopeo", "copy", "--dest-compress-format="+format, "docker-archive:"+img.Archive, name))
	return harness.Image{Archive: archive, ID: harness.ConfigDigest(t, harness.Run(t, exec.Command("skopeo", "inspect", "--raw", name)))}
}
