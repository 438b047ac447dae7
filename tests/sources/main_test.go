// Package sources tests the converter with images that come from a running Docker,
// another registry, or the archives and layouts of other programs.
package sources

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
