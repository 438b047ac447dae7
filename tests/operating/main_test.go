// Package operating tests what operators rely on: metrics, tracing, the admin endpoint,
// reloads and deny lists.
package operating

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
