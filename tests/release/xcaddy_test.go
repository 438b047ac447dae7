package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A Caddy that xcaddy builds from this checkout has the module.
func TestXcaddyBuildHasTheModule(t *testing.T) {
	harness.ParallelFor(t, harness.BuildBound)
	harness.Need(t, "bin/xcaddy")
	caddy := filepath.Join(t.TempDir(), "caddy")
	cmd := exec.Command("./xcaddy.sh", caddy)
	cmd.Dir = harness.InRepo(".")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	harness.Build(t, cmd)
	const module = "http.handlers.ipfs_registry"
	modules := harness.Run(t, exec.Command(caddy, "list-modules"))
	if !strings.Contains(modules, module+"\n") {
		t.Errorf("no %s among the modules:\n%s", module, modules)
	}
}
