package tests

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An image is taken from gateways that nobody has to trust: copied, exported,
// verified and inspected, beside one that lies, and from one that serves nothing
// but blocks and CARs.
func TestFromGateways(t *testing.T) {
	t.Parallel()
	needs(t, "bin/converter")
	img := testImage(t)
	kubo := newKubo(t)
	liar := newLyingServer(t, kubo, kubo, []lie{changedByte}).gateway(full, 0, "liar")
	store := t.TempDir()
	address := root(t, convert(t, img.archive, "--ipfs-api="+kubo.api))
	want := filepath.Join(t.TempDir(), "want.tar")
	run(t, exec.Command(inRepo("bin/converter"), "export", address, "--ipfs-api="+kubo.api, "-o", want))

	gateways := []string{"--gateway=" + liar, "--gateway=" + kubo.gateway}
	command := func(args ...string) *exec.Cmd {
		return exec.Command(inRepo("bin/converter"), append(args, gateways...)...)
	}
	refs, warnings, err := try(command("copy", address, "--store="+store))
	if err != nil || root(t, strings.TrimSpace(refs)) != address {
		t.Errorf("copied, it is %s, %v\n%s", refs, err, warnings)
	}
	if strings.Count(warnings, "gateway "+liar+" sends false content") != 1 || strings.Count(warnings, "gateway ") != 1 {
		t.Errorf("of the gateway that lies, and of no other, there is one line:\n%s", warnings)
	}
	run(t, exec.Command(inRepo("bin/converter"), "verify", "--all", "--store="+store))
	archive := filepath.Join(t.TempDir(), "image.tar")
	run(t, command("export", address, "-o", archive))
	if readFile(t, archive) != readFile(t, want) {
		t.Error("exported from gateways it is another archive than from the node")
	}
	run(t, command("verify", address))
	run(t, command("inspect", address))

	gateways = []string{"--gateway=" + liar}
	mustRefuse(t, command("copy", address, "--store="+t.TempDir()), "not what its hash says")
	mustRefuse(t, exec.Command(inRepo("bin/converter"), "copy", address, "--from="+store, "--gateway="+kubo.gateway), "not from both")
}
