// Package layouts tests the registry with images in the layouts in which other programs
// publish them on IPFS.
package layouts

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
