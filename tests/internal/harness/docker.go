package harness

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/citest"
)

// A Docker is a Docker daemon that has no images at first. Every test starts its own:
// with the layers of another test, a daemon would not pull all of its own.
type Docker struct {
	*Daemon
	Socket string
	root   string // the daemon's root directory, empty for this machine's
	work   string // which is /mnt there
	config string // the client's configuration directory, which is empty
}

// NewDocker starts this machine's Docker.
func NewDocker(t *testing.T, args ...string) *Docker {
	t.Helper()
	Need(t, "dockerd")
	return startDocker(t, "", `{"storage-driver": "vfs"}`, args...)
}

// NewTrixieDocker starts the Docker of Debian trixie with one of its image stores,
// "classic" or "containerd".
func NewTrixieDocker(t *testing.T, store string) *Docker {
	t.Helper()
	Need(t, "trixie")
	config := map[string]string{
		"classic":    `{"storage-driver": "vfs"}`,
		"containerd": `{"storage-driver": "native", "features": {"containerd-snapshotter": true}}`,
	}
	return startDocker(t, TrixieRoot(), config[store])
}

func startDocker(t *testing.T, root, config string, args ...string) *Docker {
	t.Helper()
	Need(t, "docker")
	work := ShortTempDir(t)
	WriteFile(t, filepath.Join(work, "daemon.json"), config)
	args = append([]string{
		"dockerd", "--config-file=/mnt/daemon.json", "--iptables=false", "--ip6tables=false", "--bridge=none",
		"--data-root=/mnt/data", "--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--host=unix:///mnt/socket",
	}, args...)
	return &Docker{
		Daemon: AwaitStart(t, "API listen on", func() *Daemon { return startIsolated(t, "dockerd", root, work, args...) }),
		Socket: filepath.Join(work, "socket"),
		root:   root,
		work:   work,
		config: t.TempDir(),
	}
}

// Command returns a command of Docker's client for this daemon.
func (d *Docker) Command(args ...string) *exec.Cmd {
	client := "/usr/bin/docker"
	if _, err := os.Stat(client); err != nil {
		client = "docker" // which may be newer, and refuse the daemon
	}
	cmd := exec.Command(client, append([]string{"--config", d.config, "--host", "unix://" + d.Socket}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0") // BuildKit needs a network
	return cmd
}

// Run runs Docker's client and returns its output.
func (d *Docker) Run(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(Run(t, d.Command(args...)))
}

// buildx is Docker's client for BuildKit, in the Debian trixie.
const buildx = "/usr/libexec/docker/cli-plugins/docker-buildx"

// Build makes the BuildKit of a trixie's daemon build an image from the files, which include a
// Dockerfile. It returns the digest of the image.
func (d *Docker) Build(t *testing.T, files map[string]string, args ...string) (digest string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(d.root, buildx)); err != nil {
		citest.Skip(t, "no docker-buildx in the Debian trixie: tests/setup.sh installs it")
	}
	context, err := os.MkdirTemp(d.work, "context")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		WriteFile(t, filepath.Join(context, name), content)
	}
	inside := "/mnt/" + filepath.Base(context)
	args = append([]string{
		"--mount", "sh", "-ec", inRoot, "sh", d.root, d.work, "env", "HOME=/mnt/home", "DOCKER_HOST=unix:///mnt/socket",
		buildx, "build", "--progress=plain", "--metadata-file=" + inside + ".json",
	}, append(args, inside)...)
	Run(t, exec.Command("unshare", args...))
	var about struct {
		Digest string `json:"containerimage.digest"`
	}
	if err := json.Unmarshal([]byte(ReadFile(t, context+".json")), &about); err != nil {
		t.Fatal(err)
	}
	return about.Digest
}

// ID returns the image's ID. In the classic store that is the digest of the config, in
// containerd's store the digest of the manifest or index.
func (d *Docker) ID(t *testing.T, ref string) string {
	t.Helper()
	return d.Run(t, "image", "inspect", "--format={{.Id}}", ref)
}

// Save runs docker save and returns the file that it writes.
func (d *Docker) Save(t *testing.T, ref string) (archive string) {
	t.Helper()
	archive = filepath.Join(t.TempDir(), "image.tar")
	d.Run(t, "save", "--output="+archive, ref)
	return archive
}

// MustRun runs the image, which must print Greeting.
func (d *Docker) MustRun(t *testing.T, ref string) {
	t.Helper()
	if got := d.Run(t, "run", "--rm", "--network=none", ref); got != Greeting {
		t.Errorf("docker run %s prints %q, want %q", ref, got, Greeting)
	}
}
