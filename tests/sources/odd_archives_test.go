package sources

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/oddarchive"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// converted is what the converter made of an odd archive.
type converted struct {
	*oddarchive.Case
	ref  string
	want oddarchive.Want
}

// pulls reports whether a client is to pull the image. Docker and podman, which are
// slow, pull those whose layers are odd: the others are ordinary images by now.
func (c converted) pulls(client string) bool {
	if client != "skopeo" && !c.OddLayers {
		return false
	}
	return c.want.Pullable == nil || slices.Contains(c.want.Pullable, client)
}

// What the converter makes of odd archives is pulled as the images that went in, by
// every client that could pull them from another registry.
func TestOddArchivesArePulled(t *testing.T) {
	harness.ParallelFor(t, 8*time.Minute)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	results := convertOddArchives(t, store, caddy.URL)
	docker, podman := harness.NewDocker(t), harness.NewPodman(t)
	for name, pull := range map[string]func(t *testing.T, ref string) (id string){
		"docker": func(t *testing.T, ref string) string {
			docker.Run(t, "pull", "--quiet", ref)
			return docker.ID(t, ref)
		},
		"podman": func(_ *testing.T, ref string) string {
			podman("pull", "--quiet", "--tls-verify=false", ref)
			return "sha256:" + podman("image", "inspect", "--format={{.Id}}", ref)
		},
		"skopeo": harness.PullBySkopeo,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range results {
				if !r.pulls(name) {
					continue
				}
				t.Run(r.Name, func(t *testing.T) {
					if got := pull(t, r.ref); !slices.Contains(r.want.Configs, got) {
						t.Errorf("got the image %s, want one of %s", got, r.want.Configs)
					}
				})
			}
		})
	}
}

// convertOddArchives converts each odd archive that is taken, by the first call of its
// case.
func convertOddArchives(t *testing.T, store, registry string) []converted {
	t.Helper()
	harness.Need(t, "bin/converter")
	var results []converted
	for _, c := range oddarchive.Cases() {
		i := slices.IndexFunc(c.Runs, func(r oddarchive.Run) bool { return !r.Want.Refused && r.Stdin == "" })
		if i < 0 {
			continue
		}
		dir := t.TempDir()
		if err := c.Write(dir); err != nil {
			t.Fatal(err)
		}
		args := []string{"--quiet", "--store=" + store, "--registry=" + registry}
		for _, a := range c.Runs[i].Args {
			args = append(args, oddarchive.In(dir, a))
		}
		stdout := harness.Run(t, exec.Command(harness.InRepo("bin/converter"), args...))
		ref, _, _ := strings.Cut(stdout, "\n")
		results = append(results, converted{c, ref, c.Runs[i].Want})
	}
	return results
}
