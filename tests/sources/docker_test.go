package sources

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// An image in a running Docker has the same address as the archive that docker save
// writes of it.
func TestDockerDaemonGivesAddressOfDockerSave(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+t.TempDir()))
	tcp := fmt.Sprintf("tcp://127.0.0.1:%d", harness.FreePort(t))
	for name, start := range map[string]func(t *testing.T) *harness.Docker{
		"this":       func(t *testing.T) *harness.Docker { return harness.NewDocker(t, "--host="+tcp) },
		"classic":    func(t *testing.T) *harness.Docker { return harness.NewTrixieDocker(t, "classic") },
		"containerd": func(t *testing.T) *harness.Docker { return harness.NewTrixieDocker(t, "containerd") },
	} {
		t.Run(name, func(t *testing.T) {
			harness.Parallel(t)
			d := start(t)
			hosts := []string{"unix://" + d.Socket}
			if name == "this" {
				hosts = append(hosts, tcp)
			}
			d.Run(t, "load", "--input="+img.Archive)
			for _, host := range hosts {
				from := func(image string) *exec.Cmd {
					cmd := exec.Command(harness.InRepo("bin/converter"), "docker-daemon:"+image, "--store="+t.TempDir())
					cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
					return cmd
				}
				for _, image := range []string{harness.ImageName + ":v1", harness.ImageName} {
					if got := harness.RootOf(t, harness.RunForLine(t, from(image))); got != address {
						t.Errorf("%s from %s is at %s, want %s", image, host, got, address)
					}
				}
				harness.MustRefuse(t, from("no/such:image"), `asking Docker for "no/such:image": .`)
			}
		})
	}
}

// If no Docker runs, the error says where the converter looked for one.
func TestMissingDockerIsNamed(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	for _, host := range []string{"unix:///nowhere/docker.sock", fmt.Sprintf("tcp://127.0.0.1:%d", harness.FreePort(t)), "ssh://docker.test"} {
		cmd := exec.Command(harness.InRepo("bin/converter"), "docker-daemon:app", "--store="+t.TempDir())
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
		harness.MustRefuse(t, cmd, "DOCKER_HOST.*"+regexp.QuoteMeta(host)+"|"+regexp.QuoteMeta(host)+".*DOCKER_HOST")
	}
}

// Docker with containerd's image store saves an index as it was pulled, but only the
// image of its own platform. The converter keeps the index to the byte, and names the
// missing image.
func TestPartialIndexKeepsItsBytes(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	repository := NewRegistry(t).fill(t, img)
	d := harness.NewTrixieDocker(t, "containerd")
	d.Run(t, "pull", repository+":multi")
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	cmd := harness.Converter(t, d.Save(t, repository+":multi"), "--store="+store, "--registry="+caddy.URL)
	stdout, stderr, err := harness.Try(cmd)
	if err != nil || !strings.Contains(stderr, "the image for linux/arm64") {
		t.Fatalf("%v: %s", err, stderr)
	}
	ref := strings.TrimSpace(stdout)
	harness.RootOf(t, ref)
	if got, want := raw(t, ref), raw(t, repository+":multi"); got != want {
		t.Errorf("the index is\n%s, want\n%s", got, want)
	}
	img.MustBe(t, harness.PullByDocker(t, ref))
}
