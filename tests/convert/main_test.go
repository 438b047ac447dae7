// Package convert tests the program converter with good and hostile archives, and with
// each destination.
package convert

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
