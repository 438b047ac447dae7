package harness

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Clients are the programs that pull. Pull fails the test unless the client gets the
// whole image, and returns the digest of the image's config.
var Clients = []struct {
	Name string
	Pull func(t *testing.T, ref string) (id string)
}{
	{"docker", PullByDocker},
	{"podman", PullByPodman},
	{"skopeo", PullBySkopeo},
	{"ctr", pullByCtr},
	{"crane", PullByCrane},
	{"oras", pullByOras},
	{"regctl", pullByRegctl},
}

// PullByDocker pulls with a new Docker, and runs the image.
func PullByDocker(t *testing.T, ref string) string {
	d := NewDocker(t)
	d.Run(t, "pull", ref)
	d.MustRun(t, ref)
	return d.ID(t, ref)
}

// NewPodman returns a podman without images.
func NewPodman(t *testing.T) func(args ...string) string {
	Need(t, "root", "unshare", "podman")
	dir := ShortTempDir(t)
	return func(args ...string) string {
		// Podman mounts its storage, and writes to /run regardless of its options.
		const script = `mount -t tmpfs tmpfs /run; exec podman "$@"`
		options := []string{
			"--mount", "sh", "-ec", script, "sh", "--root=" + dir + "/root", "--runroot=" + dir + "/run",
			"--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none",
		}
		return strings.TrimSpace(Run(t, exec.Command("unshare", append(options, args...)...)))
	}
}

// PullByPodman pulls with a new podman, and runs the image.
func PullByPodman(t *testing.T, ref string) string {
	podman := NewPodman(t)
	podman("pull", "--quiet", "--tls-verify=false", ref)
	return RunByPodman(t, podman, ref)
}

// RunByPodman runs the image, which must print Greeting, and returns its ID.
func RunByPodman(t *testing.T, podman func(args ...string) string, ref string) (id string) {
	t.Helper()
	// Its own limits are higher than a container may set, and the tests may run in
	// one.
	limits := []string{"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}
	if got := podman(slices.Concat([]string{"run", "--rm", "--network=none"}, limits, []string{ref})...); got != Greeting {
		t.Errorf("podman run printed %q, not %q", got, Greeting)
	}
	return "sha256:" + podman("image", "inspect", "--format={{.Id}}", ref)
}

// PullBySkopeo copies the image to a directory with skopeo.
func PullBySkopeo(t *testing.T, ref string) string {
	Need(t, "skopeo")
	dir := t.TempDir()
	Run(t, exec.Command("skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+dir))
	return ConfigDigest(t, ReadFile(t, filepath.Join(dir, "manifest.json")))
}

func pullByCtr(t *testing.T, ref string) string {
	ctr := NewContainerd(t)
	ref = tagged(ref)
	ctr("images", "pull", "--plain-http", "--snapshotter=native", ref)
	return ConfigByCtr(t, ctr, ref)
}

// tagged adds a tag to a reference without one, for programs that need it.
func tagged(ref string) string {
	if strings.Contains(path.Base(ref), ":") {
		return ref
	}
	return ref + ":v1"
}

// NewContainerd runs ctr with a new containerd.
func NewContainerd(t *testing.T) func(args ...string) string {
	t.Helper()
	ctr := StartContainerd(t)
	return func(args ...string) string { return Run(t, ctr(args...)) }
}

// StartContainerd starts a containerd without images, and returns its client ctr.
func StartContainerd(t *testing.T) (ctr func(args ...string) *exec.Cmd) {
	t.Helper()
	Need(t, "containerd", "ctr")
	dir := ShortTempDir(t)
	WriteFile(t, filepath.Join(dir, "config.toml"), "version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n")
	d := startIsolated(t, "containerd", "", dir,
		"containerd", "--config=/mnt/config.toml", "--root=/mnt/root", "--state=/run/containerd", "--address=/mnt/socket")
	d.AwaitLine(t, "containerd successfully booted")
	return func(args ...string) *exec.Cmd {
		return exec.Command("ctr", append([]string{"--address=" + filepath.Join(dir, "socket")}, args...)...)
	}
}

// ConfigByCtr returns the digest of the config of an image in containerd.
func ConfigByCtr(t *testing.T, ctr func(args ...string) string, ref string) string {
	t.Helper()
	// a heading, then REF TYPE DIGEST …
	listed := strings.Fields(ctr("images", "list", "name=="+ref))
	for _, word := range listed {
		if strings.HasPrefix(word, "sha256:") {
			return ConfigDigest(t, ctr("content", "get", word))
		}
	}
	t.Fatalf("ctr lists %v", listed)
	return ""
}

// PullByCrane validates and pulls the image with crane.
func PullByCrane(t *testing.T, ref string) string {
	Need(t, "bin/crane")
	// Crane follows a redirect to a private address only from the same address.
	ref = strings.Replace(ref, "localhost", "127.0.0.1", 1)
	Run(t, exec.Command(InRepo("bin/crane"), "validate", "--insecure", "--remote="+ref))
	archive := filepath.Join(t.TempDir(), "image.tar")
	Run(t, exec.Command(InRepo("bin/crane"), "pull", "--insecure", ref, archive))
	return ReadArchive(t, archive).Saved(t).Config
}

func pullByOras(t *testing.T, ref string) string {
	Need(t, "bin/oras")
	to := t.TempDir() + ":it"
	Run(t, exec.Command(InRepo("bin/oras"), "copy", "--from-plain-http", "--to-oci-layout", tagged(ref), to))
	return ConfigDigest(t, Run(t, exec.Command(InRepo("bin/oras"), "manifest", "fetch", "--oci-layout", to)))
}

func pullByRegctl(t *testing.T, ref string) string {
	regctl := NewRegctl(t, ref)
	to := "ocidir://" + t.TempDir() + ":it"
	regctl("image", "copy", ref, to)
	return ConfigDigest(t, regctl("manifest", "get", "--format=raw-body", to))
}

// NewRegctl returns a regctl with a configuration in which the reference's registry has
// no TLS.
func NewRegctl(t *testing.T, ref string) func(args ...string) string {
	t.Helper()
	Need(t, "bin/regctl")
	file := filepath.Join(t.TempDir(), "config.json")
	regctl := func(args ...string) string {
		cmd := exec.Command(InRepo("bin/regctl"), args...)
		cmd.Env = append(os.Environ(), "REGCTL_CONFIG="+file)
		return Run(t, cmd)
	}
	host, _, _ := strings.Cut(ref, "/")
	regctl("registry", "set", "--tls=disabled", "--skip-check", host)
	return regctl
}
