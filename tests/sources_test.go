package tests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// Archives that other programs than Docker write are pulled as what they are.
func TestOtherArchives(t *testing.T) {
	t.Parallel()
	needs(t, "skopeo", "gzip")
	img := testImage(t)
	store := t.TempDir()
	caddy := newCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	for _, archive := range []struct {
		name string
		make func(t *testing.T, to string) (id string)
	}{
		{"skopeo docker-archive", skopeoCopy(img.archive, "docker-archive:")},
		{"skopeo oci-archive", skopeoCopy(img.archive, "oci-archive:")},
		{"gzip", func(t *testing.T, to string) string {
			writeFile(t, to, run(t, exec.Command("gzip", "--stdout", img.archive)))
			return config(t, run(t, exec.Command("skopeo", "inspect", "--raw", "docker-archive:"+img.archive)))
		}},
	} {
		t.Run(archive.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "archive.tar")
			id := archive.make(t, file)
			ref := convert(t, file, "--store="+store, "--registry="+caddy.registry)
			root(t, ref)
			if got := pullBySkopeo(t, ref); got != id {
				t.Errorf("got the image %s, not %s", got, id)
			}
		})
	}
}

// skopeoCopy has skopeo write an archive, for which it may write another config,
// and gives back that config's digest.
func skopeoCopy(archive, transport string) func(*testing.T, string) string {
	return func(t *testing.T, to string) string {
		run(t, exec.Command("skopeo", "copy", "docker-archive:"+archive, transport+to+":"+imageName+":v1"))
		return config(t, run(t, exec.Command("skopeo", "inspect", "--raw", transport+to)))
	}
}
