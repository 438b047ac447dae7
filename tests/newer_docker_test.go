package tests

import (
	"fmt"
	"testing"
)

// A newer Docker saves the same image in another form, with either image store;
// it has the same address. It pulls it too, and what it saves then has that
// address again, where the store kept what was pulled.
func TestNewerDocker(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	address := root(t, convert(t, img.archive, "--store="+t.TempDir()))
	for _, store := range []string{"classic", "containerd"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			saves := newTrixieDocker(t, store)
			saves.docker(t, "load", "--input="+img.archive)
			images := t.TempDir()
			caddy := newCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", images))
			ref := convert(t, saves.save(t, imageName+":v1"), "--store="+images, "--registry="+caddy.registry)
			if got := root(t, ref); got != address {
				t.Errorf("saved by it, the image is at %s, not at %s", got, address)
			}

			pulls := newTrixieDocker(t, store)
			pulls.docker(t, "pull", ref)
			pulls.mustRun(t, ref)
			pulls.docker(t, "tag", ref, imageName+":v1")
			again := pulls.save(t, imageName+":v1")
			if got := root(t, convert(t, again, "--store="+t.TempDir())); got != address {
				t.Errorf("pulled and saved, the image is at %s, not at %s", got, address)
			}
			m, digest := fetchManifest(t, ref)
			img.mustBe(t, m.Config.Digest)
			want := map[string]string{"classic": img.id, "containerd": digest}[store]
			if got := pulls.id(t, ref); got != want {
				t.Errorf("its ID is %s, not %s", got, want)
			}
		})
	}
}
