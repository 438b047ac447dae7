package cookbook

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

var imageOnce sync.Once

// builtImage returns an archive of the image that `make image` builds. The first recipe
// that needs it builds it.
func builtImage(t *testing.T) (archive string) {
	t.Helper()
	harness.Need(t, "root", "unshare", "make", "podman")
	archive = harness.Shared("caddy-ipfs-registry.tar")
	imageOnce.Do(func() { buildImage(t, archive) })
	if _, err := os.Stat(archive); err != nil {
		t.Fatal("the first recipe that needed the image could not build it")
	}
	return archive
}

// buildImage builds the image with this machine's Go, its caches and its /usr as the
// base image, so the build needs no network. Podman builds it, since Docker mounts no
// directories of the machine into a build.
func buildImage(t *testing.T, archive string) {
	t.Helper()
	var goEnv struct{ GOROOT, GOCACHE, GOMODCACHE string }
	if err := json.Unmarshal([]byte(harness.Run(t, exec.Command("go", "env", "-json", "GOROOT", "GOCACHE", "GOMODCACHE"))), &goEnv); err != nil {
		t.Fatal(err)
	}
	dir := harness.ShortTempDir(t)
	base := filepath.Join(dir, "base")
	for _, d := range []string{"usr", "tmp", "root", "etc/ssl/certs"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+d, filepath.Join(base, d)); err != nil {
			t.Fatal(err)
		}
	}
	harness.WriteFile(t, filepath.Join(base, "etc/ssl/certs/ca-certificates.crt"), harness.ReadFile(t, "/etc/ssl/certs/ca-certificates.crt"))

	docker := filepath.Join(dir, "docker")
	harness.WriteFile(t, docker, fmt.Sprintf(`#!/bin/sh -e
shift # build
podman() { command podman --root=%[1]s/root --runroot=%[1]s/run --storage-driver=vfs --events-backend=none --cgroup-manager=cgroupfs "$@"; }
mount -t tmpfs tmpfs /run
tar --create --directory=%[1]s/base . | podman import --quiet \
	--change ENV=PATH=%[2]s/bin:/usr/bin --change ENV=HOME=/root --change ENV=GOPROXY=off \
	--change ENV=GOCACHE=%[3]s --change ENV=GOMODCACHE=%[4]s - golang:local
podman build --network=host --isolation=chroot --build-arg=GO=localhost/golang:local \
	--volume=/usr:/usr:ro --volume=%[2]s:%[2]s:ro --volume=%[3]s:%[3]s --volume=%[4]s:%[4]s:ro "$@"
podman save --quiet --output=%[5]s caddy-ipfs-registry
`, dir, goEnv.GOROOT, goEnv.GOCACHE, goEnv.GOMODCACHE, archive))
	if err := os.Chmod(docker, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Build(t, exec.Command("unshare", "--net", "--mount", "make", "--directory="+harness.CommitCheckout(t), "image", "DOCKER="+docker))
}
