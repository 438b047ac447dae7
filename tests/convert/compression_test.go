package convert

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// With every kind of compression, every client pulls the image, with the same config.
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
					t.Errorf("a layer has the type %s, want %s", layer.MediaType, as.layers)
				}
			}
			for _, client := range harness.Clients {
				if client.Name == "crane" && as.name == "none" {
					continue // it expects every layer to be compressed
				}
				t.Run(client.Name, func(t *testing.T) {
					harness.Parallel(t)
					as.img.MustBe(t, client.Pull(t, ref))
				})
			}
		})
	}
}

// With --recompress, layers that came compressed are the same as those converted from
// plain tars. Without it, the converter says how many layers stay as they are.
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
			t.Errorf("%s: without --recompress, layers are %v, and standard error is\n%s", format, kept, notes)
		}
		if got, notes := layers(compressed, "--recompress"); strings.Join(got, " ") != strings.Join(want, " ") || strings.Contains(notes, "came compressed") {
			t.Errorf("%s: with --recompress, layers are %v, and those of the plain archive %v\n%s", format, got, want, notes)
		}
	}
}

// compressed returns the image as an OCI archive with compressed layers. Its config has
// another digest than the image's.
func compressed(t *testing.T, img harness.Image, format string) harness.Image {
	t.Helper()
	harness.Need(t, "skopeo")
	archive := filepath.Join(t.TempDir(), "compressed.tar")
	name := "oci-archive:" + archive + ":" + harness.ImageName + ":v1"
	harness.Run(t, exec.Command("skopeo", "copy", "--dest-compress-format="+format, "docker-archive:"+img.Archive, name))
	return harness.Image{Archive: archive, ID: harness.ConfigDigest(t, harness.Run(t, exec.Command("skopeo", "inspect", "--raw", name)))}
}
