package store

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// If the disk fills during a conversion, only that conversion fails. Other images in
// the store stay whole, and nothing is left of the one that failed.
func TestFullDiskCostsOnlyTheImageWithoutRoom(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "root", "unshare", "bin/converter")
	small, large := harness.ArchiveOfLayers(t, "small:v1", "content"), harness.ArchiveOfLayers(t, "large:v1", harness.Noise(12<<20))
	const script = `
mount -t tmpfs -o size=8m tmpfs "$1"
converter=$2 store=$1/store
$converter --quiet -i "$3" --store "$store"
! $converter --quiet -i "$4" --store "$store" || exit 3
! $converter --quiet -i "$4" --car "$1/large.car" || exit 4
$converter verify --all --store "$store"
$converter --quiet -i "$3" --store "$store" --name again
ls "$1" "$store/tmp"`
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", script, "sh", t.TempDir(), harness.InRepo("bin/converter"), small, large)
	stdout, stderr, err := harness.Try(cmd)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "no space left") || !strings.Contains(lines[1], "no space left") {
		t.Errorf("standard error is %q, want two lines about space", lines)
	}
	if strings.Count(stdout, "/small") < 2 || !strings.Contains(stdout, "/again") || strings.Contains(stdout, "large.car") || strings.Contains(stdout, "import-") {
		t.Errorf("the images and files at the end are wrong:\n%s", stdout)
	}
}
