package convert

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// badInputs are archives without a usable image, with the error that the converter must
// print for each.
var badInputs = []struct {
	name  string
	spoil func(t *testing.T, whole string) (spoiled string)
	says  string
}{
	{"truncated", func(t *testing.T, whole string) string {
		content := harness.ReadFile(t, whole)
		return harness.WriteArchive(t, content[:len(content)/2])
	}, "ends early"},
	{"empty", func(t *testing.T, _ string) string { return harness.WriteArchive(t, "") }, "is empty"},
	{"not an archive", func(t *testing.T, _ string) string {
		return harness.WriteArchive(t, "Error: No such image: nginx\n")
	}, "no image archive"},
	{"an archive of something else", func(t *testing.T, _ string) string {
		return harness.Archive{{Header: tar.Header{Name: "README", Mode: 0o644}, Content: []byte("hello")}}.Write(t)
	}, "no image archive"},
	{"missing layer", func(t *testing.T, whole string) string {
		a := harness.ReadArchive(t, whole)
		layer := a.Saved(t).Layers[2]
		return a.Without(layer).Write(t)
	}, "layer .* is not in the archive"},
	{"wrong diff_id", func(t *testing.T, whole string) string {
		a := harness.ReadArchive(t, whole)
		layer := a.File(t, a.Saved(t).Layers[2])
		layer[len(layer)/2] ^= 1
		return a.Write(t)
	}, "config says"},
}

// The converter refuses a bad archive with one line and leaves nothing behind, in any
// destination.
func TestBadArchiveIsRefusedInOneLine(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	pins := harness.IPFS(t, kubo.Repo, "pin", "ls", "--type=recursive", "--quiet")
	for _, input := range badInputs {
		t.Run(input.name, func(t *testing.T) {
			spoiled := input.spoil(t, img.Archive)
			dir := t.TempDir()
			car := filepath.Join(dir, "image.car")
			for _, to := range []string{"--store=" + dir, "--car=" + car, "--no-add", "--ipfs-api=" + kubo.API} {
				cmd := harness.Converter(t, spoiled, to)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "TMPDIR="+dir)
				harness.MustRefuse(t, cmd, input.says)
				for name := range harness.ReadTree(t, dir) {
					if !strings.HasSuffix(name, "/") {
						t.Errorf("%s left %s behind", to, name)
					}
				}
			}
			if got := harness.IPFS(t, kubo.Repo, "pin", "ls", "--type=recursive", "--quiet"); got != pins {
				t.Errorf("the node's pins were %s, and are now %s", pins, got)
			}
		})
	}
}

// The error names a node that does not answer, and the reason.
func TestUnreachableNodeIsNamed(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := fmt.Sprintf("http://127.0.0.1:%d", harness.FreePort(t))
	harness.MustRefuse(t, harness.Converter(t, img.Archive, "--ipfs-api="+node), regexp.QuoteMeta(node)+".*connection refused")
}

// The converter refuses to read an archive from a terminal, at once and with a message.
func TestTerminalIsNoInput(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "script", "bin/converter")
	// script runs a command with a terminal, and prints what appears there.
	command := harness.InRepo("bin/converter") + " --store=" + t.TempDir()
	cmd := exec.Command("script", "--quiet", "--return", "--command", command, os.DevNull)
	stdout, _, err := harness.Try(cmd)
	if err == nil || !strings.Contains(stdout, "terminal") || strings.Count(strings.TrimSpace(stdout), "\n") != 0 {
		t.Errorf("at a terminal: %v\n%s", err, stdout)
	}
}
