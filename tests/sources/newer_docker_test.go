package sources

import (
	"fmt"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A newer Docker, with either image store, saves an image in another format, and it has
// the same address. Pulled by that Docker and saved again, it still has that address.
func TestNewerDockerGivesTheSameAddress(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+t.TempDir()))
	for _, store := range []string{"classic", "containerd"} {
		t.Run(store, func(t *testing.T) {
			harness.Parallel(t)
			saves := harness.NewTrixieDocker(t, store)
			saves.Run(t, "load", "--input="+img.Archive)
			images := t.TempDir()
			caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", images))
			ref := harness.Convert(t, saves.Save(t, harness.ImageName+":v1"), "--store="+images, "--registry="+caddy.URL)
			if got := harness.RootOf(t, ref); got != address {
				t.Errorf("saved by a newer Docker, the image is at %s, want %s", got, address)
			}

			pulls := harness.NewTrixieDocker(t, store)
			pulls.Run(t, "pull", ref)
			pulls.MustRun(t, ref)
			pulls.Run(t, "tag", ref, harness.ImageName+":v1")
			again := pulls.Save(t, harness.ImageName+":v1")
			if got := harness.RootOf(t, harness.Convert(t, again, "--store="+t.TempDir())); got != address {
				t.Errorf("pulled and saved again, the image is at %s, want %s", got, address)
			}
			m, digest := harness.FetchManifest(t, ref)
			img.MustBe(t, m.Config.Digest)
			want := map[string]string{"classic": img.ID, "containerd": digest}[store]
			if got := pulls.ID(t, ref); got != want {
				t.Errorf("the image's ID is %s, want %s", got, want)
			}
		})
	}
}
