package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A release is the same to the byte wherever it is made. Its programs are static and say
// which commit they are built from.
func TestReleaseIsReproducible(t *testing.T) {
	harness.ParallelFor(t, harness.BuildBound)
	commit := harness.CommitCheckout(t)
	var first string
	for _, dir := range []string{"here", "at/another/place"} {
		dir = filepath.Join(t.TempDir(), dir)
		harness.Run(t, exec.Command("git", "clone", "--quiet", commit, dir))
		release := exec.Command("go", "run", "./contrib/release", "linux/amd64")
		release.Dir = dir
		archive := filepath.Join(dir, strings.TrimSpace(harness.Build(t, release)))
		sum := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(harness.ReadFile(t, archive))), filepath.Base(archive))
		if sums := harness.ReadFile(t, filepath.Join(dir, "dist/SHA256SUMS")); sums != sum {
			t.Errorf("SHA256SUMS says %s, the archive is %s", sums, sum)
		}
		if first == "" {
			first = sum
			mustBeRelease(t, archive)
		}
		if sum != first {
			t.Errorf("two releases of one commit differ:\n%s%s", first, sum)
		}
	}
}

// mustBeRelease fails the test unless the archive has the right files and programs.
func mustBeRelease(t *testing.T, archive string) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
	unzipped, err := gzip.NewReader(strings.NewReader(harness.ReadFile(t, archive)))
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
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != harness.CommitTime {
			t.Errorf("%s has the owner %d:%d and the time %s, want 0:0 and that of the commit", h.Name, h.Uid, h.Gid, h.ModTime)
		}
	}
	want := []string{"CHANGELOG.md", "Caddyfile.example", "LICENSE", "NOTICE", "README.md", "caddy", "contrib/systemd/ipfs-registry.service", "converter"}
	docs, err := filepath.Glob(harness.InRepo("docs/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		want = append(want, "docs/"+filepath.Base(doc))
	}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("the archive has %v, want %v", names, want)
	}

	dir := t.TempDir()
	unpack := exec.Command("tar", "--extract", "--directory="+dir)
	unpack.Stdin = bytes.NewReader(tarred)
	harness.Run(t, unpack)
	for _, program := range []string{"caddy", "converter"} {
		file, err := elf.Open(filepath.Join(dir, name, program))
		if err != nil {
			t.Fatal(err)
		}
		if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 || file.Section(".interp") != nil {
			t.Errorf("%s is not static: %v, %v", program, libraries, err)
		}
		file.Close()
	}
	_, commit, _ := strings.Cut(name, "_")
	commit, _, _ = strings.Cut(commit, "_")
	if version := harness.Run(t, exec.Command(filepath.Join(dir, name, "converter"), "--version")); !strings.Contains(version, commit) || strings.Contains(version, "dirty") {
		t.Errorf("the converter built from %s prints the version %q", commit, version)
	}
	if modules := harness.Run(t, exec.Command(filepath.Join(dir, name, "caddy"), "list-modules")); !strings.Contains(modules, "http.handlers.ipfs_registry\n") {
		t.Error("the release's Caddy lacks the module")
	}
}
