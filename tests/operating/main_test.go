// Package operating tests what an operator relies on: metrics, tracing, the admin
// endpoint, reloads and lists.
package operating

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
