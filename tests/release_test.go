package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A release is made twice, at two places, and is the same to the byte; the
// programs in it run anywhere and say which commit they are of.
func TestRelease(t *testing.T) {
	t.Parallel()
	commit := committed(t)
	var first string
	for _, dir := range []string{"here", "at/another/place"} {
		dir = filepath.Join(t.TempDir(), dir)
		run(t, exec.Command("git", "clone", "--quiet", commit, dir))
		release := exec.Command("go", "run", "./contrib/release", "linux/amd64")
		release.Dir = dir
		archive := filepath.Join(dir, strings.TrimSpace(run(t, release)))
		sum := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(readFile(t, archive))), filepath.Base(archive))
		if sums := readFile(t, filepath.Join(dir, "dist/SHA256SUMS")); sums != sum {
			t.Errorf("SHA256SUMS says %s, the archive is %s", sums, sum)
		}
		if first == "" {
			first = sum
			mustBeRelease(t, archive)
		}
		if sum != first {
			t.Errorf("made again it is another:\n%s%s", first, sum)
		}
	}
}

// mustBeRelease unpacks an archive and runs what is in it.
func mustBeRelease(t *testing.T, archive string) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
	unzipped, err := gzip.NewReader(strings.NewReader(readFile(t, archive)))
	if err != nil {
		t.Fatal(err)
	}
	tarred, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(tarred)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(h.Name, name+"/"))
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != committedAt {
			t.Errorf("%s is %d:%d's and of %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
	}
	want := []string{"CHANGELOG.md", "Caddyfile.example", "LICENSE", "NOTICE", "README.md", "caddy", "contrib/systemd/ipfs-registry.service", "converter"}
	docs, err := filepath.Glob(inRepo("docs/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		want = append(want, "docs/"+filepath.Base(doc))
	}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("the archive has %v, not %v", names, want)
	}

	dir := t.TempDir()
	unpack := exec.Command("tar", "--extract", "--directory="+dir)
	unpack.Stdin = bytes.NewReader(tarred)
	run(t, unpack)
	for _, program := range []string{"caddy", "converter"} {
		program, err := elf.Open(filepath.Join(dir, name, program))
		if err != nil {
			t.Fatal(err)
		}
		if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 || program.Section(".interp") != nil {
			t.Errorf("it is not static: %v, %v", libraries, err)
		}
		program.Close()
	}
	_, commit, _ := strings.Cut(name, "_")
	commit, _, _ = strings.Cut(commit, "_")
	if version := run(t, exec.Command(filepath.Join(dir, name, "converter"), "--version")); !strings.Contains(version, commit) || strings.Contains(version, "dirty") {
		t.Errorf("the converter of %s says %q", commit, version)
	}
	if modules := run(t, exec.Command(filepath.Join(dir, name, "caddy"), "list-modules")); !strings.Contains(modules, "http.handlers.ipfs_registry\n") {
		t.Error("its Caddy lacks the module")
	}
}

// committedAt is when committed commits.
const committedAt = 1700000000

// committed is a repository whose one commit is this checkout as it is now.
func committed(t *testing.T) (dir string) {
	t.Helper()
	needs(t, "git")
	dir = t.TempDir()
	here := os.DirFS(inRepo("."))
	err := fs.WalkDir(here, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{".git", "bin", "dist"}, name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := fs.ReadFile(here, name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), content, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"commit", "--quiet", "--message=all of it"}} {
		git := exec.Command("git", append([]string{"-c", "user.name=tests", "-c", "user.email=tests@localhost"}, args...)...)
		git.Dir = dir
		date := fmt.Sprintf("%d +0000", committedAt)
		git.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
		run(t, git)
	}
	return dir
}

// builtImage is an archive of the image that `make image` builds. The Go that it
// is built with is this machine's, with what that has compiled already, so the
// build takes no network and seconds; podman builds it, since a build of
// Docker's takes no directory of the machine's. The rest of the base is Debian's
// /usr.
func builtImage(t *testing.T) (archive string) {
	t.Helper()
	needs(t, "root", "unshare", "make", "podman")
	var goEnv struct{ GOROOT, GOCACHE, GOMODCACHE string }
	if err := json.Unmarshal([]byte(run(t, exec.Command("go", "env", "-json", "GOROOT", "GOCACHE", "GOMODCACHE"))), &goEnv); err != nil {
		t.Fatal(err)
	}
	dir := shortTempDir(t)
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
	writeFile(t, filepath.Join(base, "etc/ssl/certs/ca-certificates.crt"), readFile(t, "/etc/ssl/certs/ca-certificates.crt"))

	docker := filepath.Join(dir, "docker")
	writeFile(t, docker, fmt.Sprintf(`#!/bin/sh -e
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
	run(t, exec.Command("unshare", "--net", "--mount", "make", "--directory="+committed(t), "image", "DOCKER="+docker))
	return archive
}
