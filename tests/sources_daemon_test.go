package tests

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// An image in a running Docker has the address of what docker save writes.
func TestFromDocker(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	address := root(t, convert(t, img.archive, "--store="+t.TempDir()))
	tcp := fmt.Sprintf("tcp://127.0.0.1:%d", freePort(t))
	for name, start := range map[string]func(t *testing.T) *docker{
		"this":       func(t *testing.T) *docker { return newDocker(t, "--host="+tcp) },
		"classic":    func(t *testing.T) *docker { return newTrixieDocker(t, "classic") },
		"containerd": func(t *testing.T) *docker { return newTrixieDocker(t, "containerd") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			hosts := []string{"unix://" + d.socket}
			if name == "this" {
				hosts = append(hosts, tcp)
			}
			d.docker(t, "load", "--input="+img.archive)
			for _, host := range hosts {
				from := func(image string) *exec.Cmd {
					cmd := exec.Command(inRepo("bin/converter"), "docker-daemon:"+image, "--store="+t.TempDir())
					cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
					return cmd
				}
				for _, image := range []string{imageName + ":v1", imageName} {
					if got := root(t, runForLine(t, from(image))); got != address {
						t.Errorf("%s from %s is at %s, and not at %s", image, host, got, address)
					}
				}
				mustRefuse(t, from("no/such:image"), `asking Docker for "no/such:image": .`)
			}
		})
	}
}

// Who has no Docker is told where it was looked for.
func TestDockerThatIsNotThere(t *testing.T) {
	t.Parallel()
	needs(t, "bin/converter")
	for _, host := range []string{"unix:///nowhere/docker.sock", fmt.Sprintf("tcp://127.0.0.1:%d", freePort(t)), "ssh://docker.test"} {
		cmd := exec.Command(inRepo("bin/converter"), "docker-daemon:app", "--store="+t.TempDir())
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
		mustRefuse(t, cmd, "DOCKER_HOST.*"+regexp.QuoteMeta(host)+"|"+regexp.QuoteMeta(host)+".*DOCKER_HOST")
	}
}

// Docker with containerd's image store saves an index as it was pulled, and of
// its platforms only its own. The index keeps its bytes, and what is missing is
// named.
func TestPartialIndex(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	repository := newRegistry(t).fill(t, img)
	d := newTrixieDocker(t, "containerd")
	d.docker(t, "pull", repository+":multi")
	store := t.TempDir()
	caddy := newCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	cmd := converter(t, d.save(t, repository+":multi"), "--store="+store, "--registry="+caddy.registry)
	stdout, stderr, err := try(cmd)
	if err != nil || !strings.Contains(stderr, "the image for linux/arm64") {
		t.Fatalf("%v: %s", err, stderr)
	}
	ref := strings.TrimSpace(stdout)
	root(t, ref)
	if got, want := raw(t, ref), raw(t, repository+":multi"); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	img.mustBe(t, pullByDocker(t, ref))
}
