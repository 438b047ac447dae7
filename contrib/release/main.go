// Release writes the archives of a release into dist, and SHA256SUMS.
//
//	go run ./contrib/release [OS/ARCH...]
//
// The same commit and version of Go always give the same bytes. The programs are static
// and contain no path of the build machine. The files in the archives have the time of
// the commit and belong to root. So a user can check a release by building it again.
package main

import (
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A target is a platform, and the programs released for it.
type target struct {
	os, arch string
	programs []string
}

var both = []string{"caddy", "converter"}

var targets = []target{
	{"darwin", "amd64", both},
	{"darwin", "arm64", both},
	{"linux", "amd64", both},
	{"linux", "arm64", both},
	{"windows", "amd64", []string{"converter"}},
}

func (t target) String() string { return t.os + "/" + t.arch }

// A release is the commit that the archives are built from.
type release struct {
	version string
	time    time.Time
}

const outputs = "dist"

func main() {
	log.SetFlags(0)
	log.SetPrefix("release: ")
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(names []string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	r, err := atHead()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(outputs); err != nil {
		return err
	}
	if err := os.Mkdir(outputs, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, t := range chosen {
		archive, err := r.archive(t)
		if err != nil {
			return fmt.Errorf("making the archive for %s: %w", t, err)
		}
		content, err := os.ReadFile(filepath.Join(outputs, archive))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), archive)
		fmt.Println(filepath.Join(outputs, archive))
	}
	return os.WriteFile(filepath.Join(outputs, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

func choose(names []string) ([]target, error) {
	if len(names) == 0 {
		return targets, nil
	}
	var chosen []target
	for _, name := range names {
		i := slices.IndexFunc(targets, func(t target) bool { return t.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("no release for %s: choose from %v", name, targets)
		}
		chosen = append(chosen, targets[i])
	}
	return chosen, nil
}

func atHead() (release, error) {
	changes, err := output("git", "status", "--porcelain")
	if err != nil {
		return release{}, err
	}
	if changes != "" {
		return release{}, fmt.Errorf("the work tree has changes; commit or remove them first:\n%s", changes)
	}
	version, err := output("git", "describe", "--tags", "--always")
	if err != nil {
		return release{}, err
	}
	committed, err := output("git", "log", "-1", "--format=%ct")
	if err != nil {
		return release{}, err
	}
	seconds, err := strconv.ParseInt(committed, 10, 64)
	return release{strings.TrimPrefix(version, "v"), time.Unix(seconds, 0).UTC()}, err
}

// archive writes the archive for a target, and returns its name.
func (r release) archive(t target) (string, error) {
	built, err := os.MkdirTemp("", "release")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(built)
	if err := t.build(built); err != nil {
		return "", err
	}

	var files []file
	for _, program := range t.programs {
		if t.os == "windows" {
			program += ".exe"
		}
		files = append(files, file{program, filepath.Join(built, program), 0o755})
	}
	texts, err := t.texts()
	if err != nil {
		return "", err
	}
	for _, text := range texts {
		files = append(files, file{text, text, 0o644})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })

	dir := fmt.Sprintf("caddy-ipfs-registry_%s_%s_%s", r.version, t.os, t.arch)
	name, write := dir+".tar.gz", r.writeTar
	if t.os == "windows" {
		name, write = dir+".zip", r.writeZip
	}
	w, err := os.Create(filepath.Join(outputs, name))
	if err != nil {
		return "", err
	}
	if err := write(w, dir, files); err != nil {
		w.Close()
		return "", err
	}
	return name, w.Close()
}

// texts returns the paths of the archive's other files in the repository: licences, the
// README and every file that it links to.
func (t target) texts() ([]string, error) {
	texts := []string{"CHANGELOG.md", "LICENSE", "NOTICE", "README.md"}
	docs, err := filepath.Glob("docs/*")
	if err != nil {
		return nil, err
	}
	for _, doc := range docs {
		texts = append(texts, filepath.ToSlash(doc))
	}
	if slices.Contains(t.programs, "caddy") {
		texts = append(texts, "Caddyfile.example")
	}
	if t.os == "linux" {
		texts = append(texts, "contrib/systemd/ipfs-registry.service")
	}
	return texts, nil
}

// build builds the programs into dir. They record the commit that they are built from.
func (t target) build(dir string) error {
	args := []string{"build", "-buildvcs=true", "-trimpath", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	for _, program := range t.programs {
		args = append(args, "./cmd/"+program)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOAMD64=v1", "GOARM64=v8.0")
	build.Stderr = os.Stderr
	return build.Run()
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return strings.TrimSpace(string(out)), nil
}
