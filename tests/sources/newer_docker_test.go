package sources

import (
	"fmt"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A newer Docker saves the same image in another form, with either image store;
// it has the same address. It pulls it too, and what it saves then has that
// address again, where the store kept what was pulled.
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
				t.Errorf("saved by it, the image is at %s, not at %s", got, address)
			}

			pulls := harness.NewTrixieDocker(t, store)
			pulls.Run(t, "pull", ref)
			pulls.MustRun(t, ref)
			pulls.Run(t, "tag", ref, harness.ImageName+":v1")
			again := pulls.Save(t, harness.ImageName+":v1")
			if got := harness.RootOf(t, harness.Convert(t, again, "--store="+t.TempDir())); got != address {
				t.Errorf("pulled and saved, the image is at %s, not at %s", got, address)
			}
			m, digest := harness.FetchManifest(t, ref)
			img.MustBe(t, m.Config.Digest)
			want := map[string]string{"classic": img.ID, "containerd": digest}[store]
			if got := pulls.ID(t, ref); got != want {
				t.Errorf("its ID is %s, not %s", got, want)
			}
		})
	}
}
