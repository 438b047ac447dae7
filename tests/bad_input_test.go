package tests

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// badInputs are archives that no image comes out of, each with what the
// converter has to say of it.
var badInputs = []struct {
	name  string
	spoil func(t *testing.T, whole string) (spoiled string)
	says  string
}{
	{"truncated", func(t *testing.T, whole string) string {
		content := readFile(t, whole)
		return archiveOf(t, content[:len(content)/2])
	}, "ends early"},
	{"empty", func(t *testing.T, _ string) string { return archiveOf(t, "") }, "is empty"},
	{"not an archive", func(t *testing.T, _ string) string {
		return archiveOf(t, "Error: No such image: nginx\n")
	}, "no image archive"},
	{"an archive of something else", func(t *testing.T, _ string) string {
		return archive{{tar.Header{Name: "README", Mode: 0o644}, []byte("hello")}}.write(t)
	}, "no image archive"},
	{"missing layer", func(t *testing.T, whole string) string {
		a := readArchive(t, whole)
		layer := a.saved(t).Layers[2]
		return a.without(layer).write(t)
	}, "layer .* is not in the archive"},
	{"wrong diff_id", func(t *testing.T, whole string) string {
		a := readArchive(t, whole)
		layer := a.file(t, a.saved(t).Layers[2])
		layer[len(layer)/2] ^= 1
		return a.write(t)
	}, "config says"},
	{"an entry outside", func(t *testing.T, whole string) string {
		a := append(readArchive(t, whole), entry{tar.Header{Name: "../x", Mode: 0o644}, []byte("hello")})
		return a.write(t)
	}, `\.\./x`},
}

// The converter says in one line what is wrong, fails, and leaves nothing
// behind, wherever it was to put the image.
func TestBadInput(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	pins := ipfs(t, kubo.repo, "pin", "ls", "--type=recursive", "--quiet")
	for _, input := range badInputs {
		t.Run(input.name, func(t *testing.T) {
			spoiled := input.spoil(t, img.archive)
			dir := t.TempDir()
			car := filepath.Join(dir, "image.car")
			for _, to := range []string{"--store=" + dir, "--car=" + car, "--no-add", "--ipfs-api=" + kubo.api} {
				cmd := converter(t, spoiled, to)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "TMPDIR="+dir)
				mustRefuse(t, cmd, input.says)
				for name := range tree(t, dir) {
					if !strings.HasSuffix(name, "/") {
						t.Errorf("%s left %s behind", to, name)
					}
				}
			}
			if got := ipfs(t, kubo.repo, "pin", "ls", "--type=recursive", "--quiet"); got != pins {
				t.Errorf("pins were %s, and are now %s", pins, got)
			}
		})
	}
}

// A node that does not answer is named, and so is why.
func TestNodeThatIsNotThere(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	node := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	mustRefuse(t, converter(t, img.archive, "--ipfs-api="+node), regexp.QuoteMeta(node)+".*connection refused")
}

// Whoever forgets the pipe is told so, instead of being waited for.
func TestTerminalAsInput(t *testing.T) {
	t.Parallel()
	needs(t, "script", "bin/converter")
	// script gives its command a terminal, and shows what came out there.
	command := inRepo("bin/converter") + " --store=" + t.TempDir()
	cmd := exec.Command("script", "--quiet", "--return", "--command", command, os.DevNull)
	stdout, _, err := try(cmd)
	if err == nil || !strings.Contains(stdout, "terminal") || strings.Count(strings.TrimSpace(stdout), "\n") != 0 {
		t.Errorf("at a terminal: %v\n%s", err, stdout)
	}
}

// mustRefuse runs the converter, which must say one line that matches, print no
// reference, and exit with 1.
func mustRefuse(t *testing.T, cmd *exec.Cmd, says string) {
	t.Helper()
	stdout, stderr, _ := try(cmd)
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("%v: exit code %d, not 1", cmd.Args[1:], code)
	}
	if stdout != "" {
		t.Errorf("%v: printed %q", cmd.Args[1:], stdout)
	}
	if strings.Count(stderr, "\n") != 1 || !regexp.MustCompile(says).MatchString(stderr) {
		t.Errorf("%v: said %q, not one line about %q", cmd.Args[1:], stderr, says)
	}
}

// archiveOf is a file with that content.
func archiveOf(t *testing.T, content string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "archive.tar")
	writeFile(t, file, content)
	return file
}

// without is the archive less an entry.
func (a archive) without(name string) archive {
	var rest archive
	for _, e := range a {
		if e.Name != name {
			rest = append(rest, e)
		}
	}
	return rest
}
