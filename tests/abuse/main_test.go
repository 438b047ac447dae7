// Package abuse plays what clients, publishers and gateways could do to a registry:
// inputs of a few bytes that cost much. One Caddy runs under a memory limit, and each
// attack prints what it cost beside its bar.
package abuse

import (
	"os"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) {
	if os.Getenv(asHonest) != "" {
		serveHonest(os.Stdin, os.Stdout)
		return
	}
	os.Exit(harness.Main(m))
}
