// Package convert tests the converter as a program: what it makes of archives,
// good and hostile, and where it puts them.
package convert

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
