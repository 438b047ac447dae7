// Package dependencies tests which package may import which.
package dependencies

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

const module = "github.com/seed-9e24ebb9/caddy-ipfs-registry"

// house has a row for each floor, from the top down. A package may import packages of
// lower floors only. Tests may import any package.
var house = [][]string{
	{"cmd/caddy", "cmd/converter", "contrib/release"},
	{"."},
	{"caddymodule", "converter"},
	{"converter/verify", "converter/inspect", "converter/export", "converter/destination"},
	{"converter/tree", "converter/source"},
	{"converter/internal/wrapping"},
	{"converter/origin", "converter/blob", "converter/remote"},
	{"converter/deflate", "converter/platform", "converter/internal/wholefile"},
	{"converter/internal/ocilayout", "converter/internal/alternatives", "converter/internal/ctxio"},
	{"internal/registry"},
	{"internal/images", "internal/repository"},
	{"internal/fill", "internal/manifest", "internal/provide"},
	{"internal/names", "internal/trustless"},
	{"internal/car", "internal/gateway", "internal/store", "internal/denylist"},
	{"internal/layout", "internal/cut"},
	{"internal/unixfs", "internal/kubo"},
	{"internal/cidname", "internal/ipfspath", "internal/atomicfile", "internal/memo", "internal/budget", "internal/ipns", "internal/oddarchive", "internal/align"},
}

// floorOf returns the number of a package's floor, counted from the top, or -1 if the
// package has none.
func floorOf(pkg string) int {
	return slices.IndexFunc(house, func(floor []string) bool { return slices.Contains(floor, pkg) })
}

func TestImportsPointDownOnly(t *testing.T) {
	here := map[string]bool{}
	for from, to := range imports(t, "Imports", "./...") {
		from, ours := inHouse(from)
		if !ours {
			continue
		}
		here[from] = true
		floor := floorOf(from)
		if floor < 0 {
			t.Errorf("%s has no floor: add it to house", from)
			continue
		}
		for _, to := range to {
			if to, ours := inHouse(to); ours && floorOf(to) <= floor {
				t.Errorf("%s imports %s, which is not on a lower floor", from, to)
			}
		}
	}
	for _, pkg := range slices.Concat(house...) {
		if !here[pkg] {
			t.Errorf("%s is in house but not in the repository", pkg)
		}
	}
}

// inHouse returns a package's path below the module, and whether the package is one of
// this module and more than a helper for tests.
func inHouse(pkg string) (path string, ours bool) {
	if pkg == module {
		return ".", true
	}
	path, ours = strings.CutPrefix(pkg, module+"/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	helper := strings.HasPrefix(path, "tests/") || strings.HasPrefix(name, "test") || strings.HasSuffix(name, "test")
	return path, ours && !helper
}

// Heavy modules are imported by few packages: users of the converter get no Caddy, and
// boxo is imported by two packages only.
func TestHeavyModulesHaveOneDoor(t *testing.T) {
	for _, rule := range []struct {
		packages  []string
		never     string
		why       string
		field     string // of go list: Imports, or Deps for all that they import in turn
		exception string // a package
		allowed   []string
	}{
		{[]string{"./converter/...", "./internal/...", "./cmd/converter"}, "github.com/caddyserver/", "only caddymodule and cmd/caddy import Caddy", "Deps", "", nil},
		{[]string{"./..."}, "github.com/ipfs/boxo", "internal/unixfs is the door to boxo, and internal/ipns the one to boxo/ipns", "Imports", module + "/internal/unixfs", []string{"github.com/ipfs/boxo/ipns", "github.com/ipfs/boxo/path"}},
		{[]string{"./..."}, "github.com/ipfs/boxo/ipns", "internal/ipns is the one door to boxo/ipns", "Imports", module + "/internal/ipns", nil},
		{[]string{"./caddymodule", "./internal/..."}, module + "/converter", "the registry and the converter do not import each other", "Deps", "", nil},
		{[]string{"./..."}, "github.com/libp2p/go-libp2p", "this has no peer-to-peer node", "Deps", "", keys},
		{[]string{".", "./caddymodule", "./internal/...", "./cmd/caddy"}, "github.com/docker/", "Docker's own packages are heavy", "Deps", "", nil},
		{[]string{"./converter/...", "./cmd/converter"}, "github.com/docker/", "the converter takes only credentials from Docker's own packages", "Deps", "", credentials},
	} {
		edges := 0
		for from, to := range imports(t, rule.field, rule.packages...) {
			edges += len(to)
			for _, to := range to {
				if strings.HasPrefix(to, rule.never) && from != rule.exception && !slices.Contains(rule.allowed, to) {
					t.Errorf("%s imports %s: %s", from, to, rule.why)
				}
			}
		}
		if edges == 0 {
			t.Errorf("go list finds no imports of %q", rule.packages)
		}
	}
}

// imports returns a field of go list, Imports or Deps, for the given packages.
func imports(t *testing.T, field string, packages ...string) map[string][]string {
	t.Helper()
	list := exec.Command("go", append([]string{"list", "-f", "{{.ImportPath}} {{join ." + field + " \" \"}}"}, packages...)...)
	list.Dir = harness.InRepo("")
	all := map[string][]string{}
	for line := range strings.Lines(harness.Run(t, list)) {
		words := strings.Fields(line)
		all[words[0]] = words[1:]
	}
	return all
}

// keys are the packages that sign and verify records of IPNS keys.
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

// credentials are the packages that find the credentials for a registry as docker does.
var credentials = []string{
	"github.com/docker/cli/cli/config",
	"github.com/docker/cli/cli/config/configfile",
	"github.com/docker/cli/cli/config/credentials",
	"github.com/docker/cli/cli/config/memorystore",
	"github.com/docker/cli/cli/config/types",
	"github.com/docker/docker-credential-helpers/client",
	"github.com/docker/docker-credential-helpers/credentials",
}
