package release

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Who may import what, so that it stays so: users of the converter get no
// Caddy, and what boxo is used for can be read in one package.
func TestDependenciesPointDownOnly(t *testing.T) {
	harness.Parallel(t)
	const module = "github.com/seed-9e24ebb9/caddy-ipfs-registry"
	for _, rule := range []struct {
		packages  []string
		never     string
		why       string
		all       bool   // dependencies of dependencies as well
		exception string // a package
		allowed   []string
	}{
		{[]string{"./converter/...", "./internal/...", "./cmd/converter"}, "github.com/caddyserver/", "only caddymodule and cmd/caddy import Caddy", true, "", nil},
		{[]string{"./..."}, "github.com/ipfs/boxo", "internal/unixfs is the door to boxo, and internal/names the one to boxo/ipns", false, module + "/internal/unixfs", []string{"github.com/ipfs/boxo/ipns"}},
		{[]string{"./..."}, "github.com/ipfs/boxo/ipns", "internal/names is the one door to boxo/ipns", false, module + "/internal/names", nil},
		{[]string{"./caddymodule"}, module + "/converter", "the two sides do not import each other", true, "", nil},
		{[]string{"./...", "./cmd/..."}, "github.com/libp2p/go-libp2p", "a peer-to-peer node is no part of this", true, "", keys},
		{[]string{".", "./caddymodule", "./internal/...", "./cmd/caddy"}, "github.com/docker/", "Docker's own packages are heavy", true, "", nil},
		{[]string{"./converter/...", "./cmd/converter"}, "github.com/docker/", "credentials are all that is taken from Docker's own packages", true, "", credentials},
	} {
		format := `{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`
		if rule.all {
			format = `{{$p := .ImportPath}}{{range .Deps}}{{$p}} {{.}}{{"\n"}}{{end}}`
		}
		list := exec.Command("go", append([]string{"list", "-f", format}, rule.packages...)...)
		list.Dir = harness.InRepo("")
		edges := 0
		for line := range strings.Lines(harness.Run(t, list)) {
			from, to, found := strings.Cut(strings.TrimSpace(line), " ")
			if !found {
				continue
			}
			edges++
			if strings.HasPrefix(to, rule.never) && from != rule.exception && !slices.Contains(rule.allowed, to) {
				t.Errorf("%s imports %s: %s", from, to, rule.why)
			}
		}
		if edges == 0 {
			t.Errorf("%q import nothing", rule.packages)
		}
	}
}

// keys are the packages by which records of IPNS keys are verified.
var keys = []string{
	"github.com/libp2p/go-libp2p-record",
	"github.com/libp2p/go-libp2p-record/pb",
	"github.com/libp2p/go-libp2p/core/crypto",
	"github.com/libp2p/go-libp2p/core/crypto/pb",
	"github.com/libp2p/go-libp2p/core/internal/catch",
	"github.com/libp2p/go-libp2p/core/peer",
	"github.com/libp2p/go-libp2p/core/peer/pb",
	"github.com/libp2p/go-libp2p/core/peerstore",
	"github.com/libp2p/go-libp2p/core/protocol",
	"github.com/libp2p/go-libp2p/core/record",
	"github.com/libp2p/go-libp2p/core/record/pb",
}

// credentials are the packages by which the converter finds out how to log in to
// a registry, as docker does.
var credentials = []string{
	"github.com/docker/cli/cli/config",
	"github.com/docker/cli/cli/config/configfile",
	"github.com/docker/cli/cli/config/credentials",
	"github.com/docker/cli/cli/config/memorystore",
	"github.com/docker/cli/cli/config/types",
	"github.com/docker/docker-credential-helpers/client",
	"github.com/docker/docker-credential-helpers/credentials",
}
