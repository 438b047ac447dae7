package sources

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/oddarchive"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// converted is what the converter made of an odd archive.
type converted struct {
	*oddarchive.Case
	ref  string
	want oddarchive.Want
}

// pulls reports whether the test has a client pull the image. Docker and podman are slow,
// so they pull only images with odd layers: other images are ordinary once converted.
func (c converted) pulls(client string) bool {
	if client != "skopeo" && !c.OddLayers {
		return false
	}
	return c.want.Pullable == nil || slices.Contains(c.want.Pullable, client)
}

// Images from odd archives are pulled, with the right config, by every client that could
// pull them from another registry.
func TestOddArchivesArePulled(t *testing.T) {
	harness.Parallel(t)
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
			harness.Parallel(t)
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

// convertOddArchives converts the odd archive of each case that the converter accepts,
// with the arguments of the first accepted run of the case.
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
