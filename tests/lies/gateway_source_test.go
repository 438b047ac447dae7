package lies

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The converter copies, exports, verifies and inspects an image from untrusted gateways,
// of which one lies.
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
		t.Errorf("copied, it is %s, %v\n%s", refs, err, warnings)
	}
	if strings.Count(warnings, "gateway "+liar+" sends false content") != 1 || strings.Count(warnings, "gateway ") != 1 {
		t.Errorf("of the gateway that lies, and of no other, there is one line:\n%s", warnings)
	}
	harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "verify", "--all", "--store="+store))
	archive := filepath.Join(t.TempDir(), "image.tar")
	harness.Run(t, command("export", address, "-o", archive))
	if harness.ReadFile(t, archive) != harness.ReadFile(t, want) {
		t.Error("exported from gateways it is another archive than from the node")
	}
	harness.Run(t, command("verify", address))
	harness.Run(t, command("inspect", address))

	gateways = []string{"--gateway=" + liar}
	harness.MustRefuse(t, command("copy", address, "--store="+t.TempDir()), "not what its hash says")
	harness.MustRefuse(t, exec.Command(harness.InRepo("bin/converter"), "copy", address, "--from="+store, "--gateway="+kubo.Gateway), "not from both")
}
