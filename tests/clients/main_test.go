// Package clients tests the registry with the programs that people pull with:
// Docker, podman, skopeo, containerd, crane, oras and regctl, and the tests of the
// distribution specification.
package clients

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
