package cookbook

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// builtImage is an archive of the image that `make image` builds. The Go that it
// is built with is this machine's, with what that has compiled already, so the
// build takes no network and seconds; podman builds it, since a build of
// Docker's takes no directory of the machine's. The rest of the base is Debian's
// /usr.
func builtImage(t *testing.T) (archive string) {
	t.Helper()
	harness.Need(t, "root", "unshare", "make", "podman")
	var goEnv struct{ GOROOT, GOCACHE, GOMODCACHE string }
	if err := json.Unmarshal([]byte(harness.Run(t, exec.Command("go", "env", "-json", "GOROOT", "GOCACHE", "GOMODCACHE"))), &goEnv); err != nil {
		t.Fatal(err)
	}
	dir := harness.ShortTempDir(t)
	archive = filepath.Join(dir, "image.tar")
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
podman save --quiet --output=%[1]s/image.tar caddy-ipfs-registry
`, dir, goEnv.GOROOT, goEnv.GOCACHE, goEnv.GOMODCACHE))
	if err := os.Chmod(docker, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Run(t, exec.Command("unshare", "--net", "--mount", "make", "--directory="+harness.CommitCheckout(t), "image", "DOCKER="+docker))
	return archive
}
