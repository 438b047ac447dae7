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

// Clients are the programs that pull. Pull returns the digest of the image's config. It
// fails the test unless the client gets the whole image.
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

// PullByDocker pulls with a new Docker daemon, and runs the image.
func PullByDocker(t *testing.T, ref string) string {
	d := NewDocker(t)
	d.Run(t, "pull", ref)
	d.MustRun(t, ref)
	return d.ID(t, ref)
}

// NewPodman returns a function that runs podman, which has no images at first.
func NewPodman(t *testing.T) func(args ...string) string {
	Need(t, "root", "unshare", "podman")
	dir := ShortTempDir(t)
	return func(args ...string) string {
		// Podman mounts its storage, and writes to /run whatever its options say.
		const script = `mount -t tmpfs tmpfs /run; exec podman "$@"`
		options := []string{
			"--mount", "sh", "-ec", script, "sh", "--root=" + dir + "/root", "--runroot=" + dir + "/run",
			"--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none",
		}
		return strings.TrimSpace(Run(t, exec.Command("unshare", append(options, args...)...)))
	}
}

// PullByPodman pulls with a podman that has no images, and runs the image.
func PullByPodman(t *testing.T, ref string) string {
	podman := NewPodman(t)
	podman("pull", "--quiet", "--tls-verify=false", ref)
	return RunByPodman(t, podman, ref)
}

// RunByPodman runs the image, which must print Greeting, and returns its ID.
func RunByPodman(t *testing.T, podman func(args ...string) string, ref string) (id string) {
	t.Helper()
	// Podman's default limits are higher than a container may set, and the tests may
	// run in a container.
	limits := []string{"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}
	if got := podman(slices.Concat([]string{"run", "--rm", "--network=none"}, limits, []string{ref})...); got != Greeting {
		t.Errorf("podman run prints %q, want %q", got, Greeting)
	}
	return "sha256:" + podman("image", "inspect", "--format={{.Id}}", ref)
}

// PullBySkopeo copies the image to a directory with skopeo.
func PullBySkopeo(t *testing.T, ref string) string {
	Need(t, "skopeo")
	dir := t.TempDir()
	Run(t, exec.Command("skopeo", "copy", "--src-no-creds", "--src-tls-verify=false", "docker://"+ref, "dir:"+dir))
	return ConfigDigest(t, ReadFile(t, filepath.Join(dir, "manifest.json")))
}

func pullByCtr(t *testing.T, ref string) string {
	ctr := NewContainerd(t)
	ref = tagged(ref)
	ctr("images", "pull", "--plain-http", "--snapshotter=native", ref)
	return ConfigByCtr(t, ctr, ref)
}

// tagged adds the tag v1 to a reference without a tag, for programs that need one.
func tagged(ref string) string {
	if strings.Contains(path.Base(ref), ":") {
		return ref
	}
	return ref + ":v1"
}

// NewContainerd starts a containerd without images, and returns a function that runs
// ctr with it.
func NewContainerd(t *testing.T) func(args ...string) string {
	t.Helper()
	ctr := StartContainerd(t)
	return func(args ...string) string { return Run(t, ctr(args...)) }
}

// StartContainerd starts a containerd without images, and returns a function that makes
// commands of ctr for it.
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
	// The output is a heading and a line: REF TYPE DIGEST …
	listed := strings.Fields(ctr("images", "list", "name=="+ref))
	for _, word := range listed {
		if strings.HasPrefix(word, "sha256:") {
			return ConfigDigest(t, ctr("content", "get", word))
		}
	}
	t.Fatalf("ctr lists no digest for %s: %v", ref, listed)
	return ""
}

// PullByCrane validates and pulls the image with crane.
func PullByCrane(t *testing.T, ref string) string {
	Need(t, "bin/crane")
	// Crane follows a redirect to a private address only if the redirect comes from
	// that address.
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

// NewRegctl returns a function that runs regctl, configured to use the reference's
// registry without TLS.
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
