package lies

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The converter copies, exports, verifies and inspects an image correctly from two
// gateways even if one of them lies. From the liar alone, it fails.
func TestConverterTakesNoFalseByteFromGateways(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/converter")
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	liar := newLyingServer(t, kubo, kubo, []lie{changedByte}).gateway(full, 0, "liar")
	store := t.TempDir()
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API))
	want := filepath.Join(t.TempDir(), "want.tar")
	harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "export", address, "--ipfs-api="+kubo.API, "-o", want))

	gateways := []string{"--gateway=" + liar, "--gateway=" + kubo.Gateway}
	command := func(args ...string) *exec.Cmd {
		return exec.Command(harness.InRepo("bin/converter"), append(args, gateways...)...)
	}
	refs, warnings, err := harness.Try(command("copy", address, "--store="+store))
	if err != nil || harness.RootOf(t, strings.TrimSpace(refs)) != address {
		t.Errorf("the copied image is at %s, want %s: %v\n%s", refs, address, err, warnings)
	}
	if strings.Count(warnings, "gateway "+liar+" sends false content") != 1 || strings.Count(warnings, "gateway ") != 1 {
		t.Errorf("standard error must have one line about the liar and none about other gateways:\n%s", warnings)
	}
	harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "verify", "--all", "--store="+store))
	archive := filepath.Join(t.TempDir(), "image.tar")
	harness.Run(t, command("export", address, "-o", archive))
	if harness.ReadFile(t, archive) != harness.ReadFile(t, want) {
		t.Error("the archives from gateways and from the node differ")
	}
	verified := harness.Run(t, command("verify", address))
	if want := harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "verify", address, "--from="+kubo.API)); verified != want {
		t.Errorf("from gateways, verify prints %q, and from the node %q", verified, want)
	}
	inspected := harness.Run(t, command("inspect", "--json", address))
	if want := harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "inspect", "--json", address, "--from="+kubo.API)); inspected != want {
		t.Errorf("from gateways, inspect prints\n%s\nand from the node\n%s", inspected, want)
	}

	gateways = []string{"--gateway=" + liar}
	harness.MustRefuse(t, command("copy", address, "--store="+t.TempDir()), "not what its hash says")
	harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), "copy", address, "--from="+store, "--gateway="+kubo.Gateway), "not from both")
}
