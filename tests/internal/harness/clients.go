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

// Clients are the programs that pull. Each must get the whole image, and gives
// back its config's digest.
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

func PullByDocker(t *testing.T, ref string) string {
	d := NewDocker(t)
	d.Run(t, "pull", ref)
	d.MustRun(t, ref)
	return d.ID(t, ref)
}

// NewPodman returns a podman with nothing in it.
func NewPodman(t *testing.T) func(args ...string) string {
	Need(t, "root", "unshare", "podman")
	dir := ShortTempDir(t)
	return func(args ...string) string {
		// It mounts its storage, and writes to /run whatever it is told.
		const script = `mount -t tmpfs tmpfs /run; exec podman "$@"`
		options := []string{
			"--mount", "sh", "-ec", script, "sh", "--root=" + dir + "/root", "--runroot=" + dir + "/run",
			"--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none",
		}
		return strings.TrimSpace(Run(t, exec.Command("unshare", append(options, args...)...)))
	}
}

func PullByPodman(t *testing.T, ref string) string {
	podman := NewPodman(t)
	podman("pull", "--quiet", "--tls-verify=false", ref)
	return RunByPodman(t, podman, ref)
}

// RunByPodman runs the image, which must print what it was built to print, and
// gives back its ID.
func RunByPodman(t *testing.T, podman func(args ...string) string, ref string) (id string) {
	t.Helper()
	// Its own limits are more than a container may have where the tests are in
	// one.
	limits := []string{"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}
	if got := podman(slices.Concat([]string{"run", "--rm", "--network=none"}, limits, []string{ref})...); got != Greeting {
		t.Errorf("podman run printed %q, not %q", got, Greeting)
	}
	return "sha256:" + podman("image", "inspect", "--format={{.Id}}", ref)
}

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

// tagged is the reference for programs that take none without a tag.
func tagged(ref string) string {
	if strings.Contains(path.Base(ref), ":") {
		return ref
	}
	return ref + ":v1"
}

// NewContainerd returns the client of a containerd with nothing in it.
func NewContainerd(t *testing.T) func(args ...string) string {
	t.Helper()
	ctr := StartContainerd(t)
	return func(args ...string) string { return Run(t, ctr(args...)) }
}

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

// ConfigByCtr is the digest of the config of an image that containerd has.
func ConfigByCtr(t *testing.T, ctr func(args ...string) string, ref string) string {
	t.Helper()
	// REF TYPE DIGEST …, below a heading
	listed := strings.Fields(ctr("images", "list", "name=="+ref))
	for _, word := range listed {
		if strings.HasPrefix(word, "sha256:") {
			return ConfigDigest(t, ctr("content", "get", word))
		}
	}
	t.Fatalf("ctr lists %v", listed)
	return ""
}

func PullByCrane(t *testing.T, ref string) string {
	Need(t, "bin/crane")
	// It follows no redirect to a private address but from a registry of the
	// same.
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

// NewRegctl returns regctl with a configuration of its own, in which the registry
// of a reference has no TLS.
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
