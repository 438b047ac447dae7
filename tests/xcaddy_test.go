package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever builds Caddy with xcaddy and the module from this checkout has the
// module.
func TestXcaddy(t *testing.T) {
	t.Parallel()
	needs(t, "bin/xcaddy")
	caddy := filepath.Join(t.TempDir(), "caddy")
	cmd := exec.Command("./xcaddy.sh", caddy)
	cmd.Dir = inRepo(".")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	run(t, cmd)
	const module = "http.handlers.ipfs_registry"
	modules := run(t, exec.Command(caddy, "list-modules"))
	if !strings.Contains(modules, module+"\n") {
		t.Errorf("no %s among the modules:\n%s", module, modules)
	}
}
