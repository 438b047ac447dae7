package tests

import (
	"archive/tar"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A docker is a Docker daemon with nothing in it, until a test puts something
// there. It starts in less than a second, so every test has one of its own, and
// no layer of an earlier test can stand in for one that was not served.
type docker struct {
	*daemon
	socket string
	config string // the client's, empty
}

// newDocker starts this machine's Docker.
func newDocker(t *testing.T, args ...string) *docker {
	t.Helper()
	needs(t, "dockerd")
	return startDocker(t, "", `{"storage-driver": "vfs"}`, args...)
}

// newTrixieDocker starts the Docker of the newer Debian, with its classic image
// store or with containerd's.
func newTrixieDocker(t *testing.T, store string) *docker {
	t.Helper()
	needs(t, "trixie")
	config := map[string]string{
		"classic":    `{"storage-driver": "vfs"}`,
		"containerd": `{"storage-driver": "native", "features": {"containerd-snapshotter": true}}`,
	}
	return startDocker(t, trixieRoot(), config[store])
}

func startDocker(t *testing.T, root, config string, args ...string) *docker {
	t.Helper()
	needs(t, "docker")
	work := shortTempDir(t)
	writeFile(t, filepath.Join(work, "daemon.json"), config)
	args = append([]string{
		"dockerd", "--config-file=/mnt/daemon.json", "--iptables=false", "--ip6tables=false", "--bridge=none",
		"--data-root=/mnt/data", "--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--host=unix:///mnt/socket",
	}, args...)
	d := &docker{
		daemon: startIsolated(t, "dockerd", root, work, args...),
		socket: filepath.Join(work, "socket"),
		config: t.TempDir(),
	}
	d.awaitLine(t, "API listen on")
	return d
}

// command is Docker's client, speaking to this daemon.
func (d *docker) command(args ...string) *exec.Cmd {
	client := "/usr/bin/docker"
	if _, err := os.Stat(client); err != nil {
		client = "docker" // not first: one that is newer than the daemon may refuse to speak with it
	}
	cmd := exec.Command(client, append([]string{"--config", d.config, "--host", "unix://" + d.socket}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0") // BuildKit wants a network
	return cmd
}

func (d *docker) docker(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(run(t, d.command(args...)))
}

// id is the image's ID: the digest of its config in Docker's classic store, of
// its manifest in containerd's.
func (d *docker) id(t *testing.T, ref string) string {
	t.Helper()
	return d.docker(t, "image", "inspect", "--format={{.Id}}", ref)
}

// save is what `docker save` writes.
func (d *docker) save(t *testing.T, ref string) (archive string) {
	t.Helper()
	archive = filepath.Join(t.TempDir(), "image.tar")
	d.docker(t, "save", "--output="+archive, ref)
	return archive
}

// mustRun runs the image, and it must print what it was built to print.
func (d *docker) mustRun(t *testing.T, ref string) {
	t.Helper()
	if got := d.docker(t, "run", "--rm", "--network=none", ref); got != greeting {
		t.Errorf("docker run %s printed %q, not %q", ref, got, greeting)
	}
}

// An image is what Docker built for the tests.
type image struct {
	archive string // the file that docker save wrote
	id      string // the digest of its config
}

const (
	imageName = "team/app"
	greeting  = "it came back"
)

// Every layer differs but the two that bring greeting.txt, which are equal to
// the byte: Docker saves the second as a link to the first.
const dockerfile = `
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY large /srv/large
COPY greeting.txt /greeting.txt
RUN rm /greeting.txt
COPY greeting.txt /greeting.txt
CMD ["cat", "/greeting.txt"]
`

var (
	buildOnce sync.Once
	built     image
)

// testImage is the image, built by the first test that asks.
func testImage(t *testing.T) image {
	t.Helper()
	needs(t, "root", "dockerd", "docker", "unshare", "busybox")
	buildOnce.Do(func() { built = buildImage(t) })
	if built.id == "" {
		t.Fatal("there is no image: the first test that wanted it could not build it")
	}
	return built
}

func buildImage(t *testing.T) image {
	context := t.TempDir()
	writeFile(t, filepath.Join(context, "Dockerfile"), dockerfile)
	writeFile(t, filepath.Join(context, "greeting.txt"), greeting+"\n")
	writeFile(t, filepath.Join(context, "large"), noise(3<<20))
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(context, "busybox"), string(program))
	if err := os.Chmod(filepath.Join(context, "busybox"), 0o755); err != nil {
		t.Fatal(err)
	}

	d := newDocker(t)
	d.docker(t, "build", "--network=none", "--tag="+imageName+":v1", context)
	archive := filepath.Join(workDir, "image.tar")
	d.docker(t, "save", "--output="+archive, imageName+":v1")
	return image{archive: archive, id: d.id(t, imageName+":v1")}
}

// The image has what makes archives hard: a layer over 1 MiB, and one that
// comes twice, where Docker before 25 saves a link the second time.
func TestImage(t *testing.T) {
	t.Parallel()
	a := readArchive(t, testImage(t).archive)
	layers := a.saved(t).Layers
	seen := map[string]bool{}
	var large, link bool
	for _, layer := range layers {
		content := a.file(t, layer)
		seen[digestOf(content)] = true
		large = large || len(content) > 1<<20
		link = link || a.find(t, layer).Typeflag == tar.TypeSymlink
	}
	if len(seen) == len(layers) || !large {
		t.Errorf("of %d layers, %d differ; one is over 1 MiB: %v", len(layers), len(seen), large)
	}
	if path.Base(layers[0]) == "layer.tar" && !link {
		t.Error("no layer is a link to another")
	}
}
