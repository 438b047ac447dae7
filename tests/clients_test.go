package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clients are the programs that pull. Each must get the whole image, and gives
// back its config's digest.
var clients = []struct {
	name string
	pull func(t *testing.T, ref string) (id string)
}{
	{"docker", pullByDocker},
	{"podman", pullByPodman},
	{"skopeo", pullBySkopeo},
	{"ctr", pullByCtr},
	{"crane", pullByCrane},
	{"oras", pullByOras},
	{"regctl", pullByRegctl},
}

func pullByDocker(t *testing.T, ref string) string {
	d := newDocker(t)
	d.docker(t, "pull", ref)
	d.mustRun(t, ref)
	return d.id(t, ref)
}

// newPodman returns a podman with nothing in it.
func newPodman(t *testing.T) func(args ...string) string {
	needs(t, "root", "unshare", "podman")
	dir := shortTempDir(t)
	return func(args ...string) string {
		// It mounts its storage, and writes to /run whatever it is told.
		const script = `mount -t tmpfs tmpfs /run; exec podman "$@"`
		options := []string{
			"--mount", "sh", "-ec", script, "sh", "--root=" + dir + "/root", "--runroot=" + dir + "/run",
			"--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none",
		}
		return strings.TrimSpace(run(t, exec.Command("unshare", append(options, args...)...)))
	}
}

func pullByPodman(t *testing.T, ref string) string {
	podman := newPodman(t)
	podman("pull", "--quiet", "--tls-verify=false", ref)
	return runByPodman(t, podman, ref)
}

// runByPodman runs the image, which must print what it was built to print, and
// gives back its ID.
func runByPodman(t *testing.T, podman func(args ...string) string, ref string) (id string) {
	t.Helper()
	// Its own limits are more than a container may have where the tests are in
	// one.
	limits := []string{"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}
	if got := podman(slices.Concat([]string{"run", "--rm", "--network=none"}, limits, []string{ref})...); got != greeting {
		t.Errorf("podman run printed %q, not %q", got, greeting)
	}
	return "sha256:" + podman("image", "inspect", "--format={{.Id}}", ref)
}

func pullBySkopeo(t *testing.T, ref string) string {
	needs(t, "skopeo")
	dir := t.TempDir()
	run(t, exec.Command("skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+dir))
	return config(t, readFile(t, filepath.Join(dir, "manifest.json")))
}

func pullByCtr(t *testing.T, ref string) string {
	ctr := newContainerd(t)
	ref = tagged(ref)
	ctr("images", "pull", "--plain-http", "--snapshotter=native", ref)
	return configByCtr(t, ctr, ref)
}

// tagged is the reference for programs that take none without a tag.
func tagged(ref string) string {
	if strings.Contains(path.Base(ref), ":") {
		return ref
	}
	return ref + ":v1"
}

// newContainerd returns the client of a containerd with nothing in it.
func newContainerd(t *testing.T) func(args ...string) string {
	t.Helper()
	ctr := startContainerd(t)
	return func(args ...string) string { return run(t, ctr(args...)) }
}

func startContainerd(t *testing.T) (ctr func(args ...string) *exec.Cmd) {
	t.Helper()
	needs(t, "containerd", "ctr")
	dir := shortTempDir(t)
	writeFile(t, filepath.Join(dir, "config.toml"), "version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n")
	d := startIsolated(t, "containerd", "", dir,
		"containerd", "--config=/mnt/config.toml", "--root=/mnt/root", "--state=/run/containerd", "--address=/mnt/socket")
	d.awaitLine(t, "containerd successfully booted")
	return func(args ...string) *exec.Cmd {
		return exec.Command("ctr", append([]string{"--address=" + filepath.Join(dir, "socket")}, args...)...)
	}
}

// configByCtr is the digest of the config of an image that containerd has.
func configByCtr(t *testing.T, ctr func(args ...string) string, ref string) string {
	t.Helper()
	// REF TYPE DIGEST …, below a heading
	listed := strings.Fields(ctr("images", "list", "name=="+ref))
	for _, word := range listed {
		if strings.HasPrefix(word, "sha256:") {
			return config(t, ctr("content", "get", word))
		}
	}
	t.Fatalf("ctr lists %v", listed)
	return ""
}

func pullByCrane(t *testing.T, ref string) string {
	needs(t, "bin/crane")
	// It follows no redirect to a private address but from a registry of the
	// same.
	ref = strings.Replace(ref, "localhost", "127.0.0.1", 1)
	run(t, exec.Command(inRepo("bin/crane"), "validate", "--insecure", "--remote="+ref))
	archive := filepath.Join(t.TempDir(), "image.tar")
	run(t, exec.Command(inRepo("bin/crane"), "pull", "--insecure", ref, archive))
	return readArchive(t, archive).saved(t).Config
}

func pullByOras(t *testing.T, ref string) string {
	needs(t, "bin/oras")
	to := t.TempDir() + ":it"
	run(t, exec.Command(inRepo("bin/oras"), "copy", "--from-plain-http", "--to-oci-layout", tagged(ref), to))
	return config(t, run(t, exec.Command(inRepo("bin/oras"), "manifest", "fetch", "--oci-layout", to)))
}

func pullByRegctl(t *testing.T, ref string) string {
	regctl := newRegctl(t, ref)
	to := "ocidir://" + t.TempDir() + ":it"
	regctl("image", "copy", ref, to)
	return config(t, regctl("manifest", "get", "--format=raw-body", to))
}

// newRegctl returns regctl with a configuration of its own, in which the registry
// of a reference has no TLS.
func newRegctl(t *testing.T, ref string) func(args ...string) string {
	t.Helper()
	needs(t, "bin/regctl")
	file := filepath.Join(t.TempDir(), "config.json")
	regctl := func(args ...string) string {
		cmd := exec.Command(inRepo("bin/regctl"), args...)
		cmd.Env = append(os.Environ(), "REGCTL_CONFIG="+file)
		return run(t, cmd)
	}
	host, _, _ := strings.Cut(ref, "/")
	regctl("registry", "set", "--tls=disabled", "--skip-check", host)
	return regctl
}

// config is the digest of the config in a manifest.
func config(t *testing.T, content string) string {
	t.Helper()
	var m manifest
	if err := json.Unmarshal([]byte(content), &m); err != nil || m.Config.Digest == "" {
		t.Fatalf("not an image's manifest: %v\n%s", err, content)
	}
	return m.Config.Digest
}

// mustBe fails the test when what came back isn't the image that went in.
func (img image) mustBe(t *testing.T, id string) {
	t.Helper()
	if id != img.id {
		t.Errorf("got the image %s, not %s", id, img.id)
	}
}
