package names

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A target is what a record or a DNSLink points to: a path below content or below
// another name.
type target struct {
	root cid.Cid // undefined if the target is below another name
	name Name
	path string // slash-separated; may be empty
}

// errUseless says that the owner of a name made it point to something that cannot be
// served. The name no longer stands for what it stood for before.
var errUseless = fmt.Errorf("it points to nothing that can be served here: %w", fs.ErrNotExist)

// maxPath is the most bytes of a path. Paths are kept in memory, and anyone can publish
// them.
const maxPath = 1024

// parseTarget parses /ipfs/<cid>[/<path>] or /ipns/<name>[/<path>].
func parseTarget(s string) (target, error) {
	parts := strings.SplitN(strings.TrimRight(s, "/"), "/", 4)
	if len(parts) < 3 || parts[0] != "" {
		return target{}, fmt.Errorf("%.100q is not a path on IPFS", s)
	}
	var t target
	var err error
	switch parts[1] {
	case "ipfs":
		t.root, err = cidname.ParseAny(parts[2])
	case "ipns":
		t.name, err = parseLinked(parts[2])
	default:
		return target{}, fmt.Errorf("%.100q begins with neither /ipfs/ nor /ipns/", s)
	}
	if err == nil && len(parts) == 4 {
		t.path = parts[3]
		err = checkPath(t.path)
	}
	if err != nil {
		return target{}, fmt.Errorf("%.100q: %w", s, err)
	}
	if t.root.Defined() { // so that roots can be compared
		t.root = cid.NewCidV1(t.root.Type(), t.root.Hash())
	}
	return t, nil
}

// checkPath accepts paths that mean the same to every program on the way to the
// directory.
func checkPath(p string) error {
	if len(p) > maxPath {
		return fmt.Errorf("a path of %d bytes, more than %d", len(p), maxPath)
	}
	if strings.ContainsFunc(p, unicode.IsControl) {
		return fmt.Errorf("the path has control characters")
	}
	for part := range strings.SplitSeq(p, "/") {
		if slices.Contains([]string{"", ".", ".."}, part) {
			return fmt.Errorf("the path has empty or dotted parts")
		}
	}
	return nil
}
