package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The demo succeeds with any one client in PATH, and with none, since it builds crane
// itself.
func TestDemoWorksWithAnyClient(t *testing.T) {
	harness.Parallel(t)
	for _, client := range []string{"podman", "skopeo", "crane"} {
		t.Run(client, func(t *testing.T) {
			harness.Need(t, "bin/caddy", "bin/converter", "bash")
			path := t.TempDir()
			programs := []string{"bash", "go", "git", "tar", "sed", "mktemp", "rm", "sleep", "tail", "cat", "env", "dirname"}
			if client != "crane" {
				harness.Need(t, "root", client)
				programs = append(programs, client)
			}
			for _, name := range programs {
				link(t, name, path)
			}
			demo := exec.Command(harness.InRepo("tests/demo/demo.sh"))
			demo.Env = append(os.Environ(), "PATH="+path)
			out := harness.Run(t, demo)
			if !strings.Contains(out, client) || !strings.Contains(out, "The pulled image is the one that was converted") {
				t.Errorf("with %s, the demo prints\n%s", client, out)
			}
		})
	}
}

func link(t *testing.T, program, dir string) {
	t.Helper()
	at, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at, filepath.Join(dir, program)); err != nil {
		t.Fatal(err)
	}
}
