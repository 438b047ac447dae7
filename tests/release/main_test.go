// Package release tests what users get: the release archives, the demo, and a Caddy
// that xcaddy builds.
package release

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
