package sources

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Images in archives that skopeo or gzip wrote are pulled with the config that they have
// in the archive.
func TestArchivesOfOtherProgramsArePulled(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo", "gzip")
	img := harness.DockerImage(t)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	for _, archive := range []struct {
		name string
		make func(t *testing.T, to string) (id string)
	}{
		{"skopeo docker-archive", skopeoCopy(img.Archive, "docker-archive:")},
		{"skopeo oci-archive", skopeoCopy(img.Archive, "oci-archive:")},
		{"gzip", func(t *testing.T, to string) string {
			harness.WriteFile(t, to, harness.Run(t, exec.Command("gzip", "--stdout", img.Archive)))
			return harness.ConfigDigest(t, harness.Run(t, exec.Command("skopeo", "inspect", "--raw", "docker-archive:"+img.Archive)))
		}},
	} {
		t.Run(archive.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "archive.tar")
			id := archive.make(t, file)
			ref := harness.Convert(t, file, "--store="+store, "--registry="+caddy.URL)
			harness.RootOf(t, ref)
			if got := harness.PullBySkopeo(t, ref); got != id {
				t.Errorf("got the image %s, want %s", got, id)
			}
		})
	}
}

// skopeoCopy returns a function that has skopeo write an archive, and that returns the
// digest of the config there, which skopeo may have changed.
func skopeoCopy(archive, transport string) func(*testing.T, string) string {
	return func(t *testing.T, to string) string {
		harness.Run(t, exec.Command("skopeo", "copy", "docker-archive:"+archive, transport+to+":"+harness.ImageName+":v1"))
		return harness.ConfigDigest(t, harness.Run(t, exec.Command("skopeo", "inspect", "--raw", transport+to)))
	}
}
