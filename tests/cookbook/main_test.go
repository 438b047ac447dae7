// Package cookbook runs every example of the README and the documentation, block by
// block, on a machine of its own.
package cookbook

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
