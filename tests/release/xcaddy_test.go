package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A Caddy that xcaddy builds from this checkout has the module.
func TestXcaddyBuildHasTheModule(t *testing.T) {
	harness.ParallelFor(t, 15*time.Minute) // it builds Caddy from nothing
	harness.Need(t, "bin/xcaddy")
	caddy := filepath.Join(t.TempDir(), "caddy")
	cmd := exec.Command("./xcaddy.sh", caddy)
	cmd.Dir = harness.InRepo(".")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	harness.Run(t, cmd)
	const module = "http.handlers.ipfs_registry"
	modules := harness.Run(t, exec.Command(caddy, "list-modules"))
	if !strings.Contains(modules, module+"\n") {
		t.Errorf("no %s among the modules:\n%s", module, modules)
	}
}
