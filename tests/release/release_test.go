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
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A release is made twice, at two places, and is the same to the byte; the
// programs in it run anywhere and say which commit they are of.
func TestReleaseIsReproducible(t *testing.T) {
	harness.ParallelFor(t, 15*time.Minute) // it builds Caddy from nothing
	commit := harness.CommitCheckout(t)
	var first string
	for _, dir := range []string{"here", "at/another/place"} {
		dir = filepath.Join(t.TempDir(), dir)
		harness.Run(t, exec.Command("git", "clone", "--quiet", commit, dir))
		release := exec.Command("go", "run", "./contrib/release", "linux/amd64")
		release.Dir = dir
		archive := filepath.Join(dir, strings.TrimSpace(harness.Run(t, release)))
		sum := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(harness.ReadFile(t, archive))), filepath.Base(archive))
		if sums := harness.ReadFile(t, filepath.Join(dir, "dist/SHA256SUMS")); sums != sum {
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
			t.Errorf("%s is %d:%d's and of %s", h.Name, h.Uid, h.Gid, h.ModTime)
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
		t.Errorf("the archive has %v, not %v", names, want)
	}

	dir := t.TempDir()
	unpack := exec.Command("tar", "--extract", "--directory="+dir)
	unpack.Stdin = bytes.NewReader(tarred)
	harness.Run(t, unpack)
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
	if version := harness.Run(t, exec.Command(filepath.Join(dir, name, "converter"), "--version")); !strings.Contains(version, commit) || strings.Contains(version, "dirty") {
		t.Errorf("the converter of %s says %q", commit, version)
	}
	if modules := harness.Run(t, exec.Command(filepath.Join(dir, name, "caddy"), "list-modules")); !strings.Contains(modules, "http.handlers.ipfs_registry\n") {
		t.Error("its Caddy lacks the module")
	}
}
