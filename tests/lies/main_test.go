// Package lies tests the registry and the converter with gateways that lie, stall and
// break off answers.
package lies

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
