package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// A Root is the directory whose images are served by plain names: a CID, a name, or a store's
// own root.
type Root struct {
	CID   cid.Cid    // undefined if it is not a CID
	Name  names.Name // the zero Name if it is not a name
	Hosts []string   // the registries that its images are from, as CheckHost wants them

	Own OwnRoot // nil if the root is not a store's own root
}

// An OwnRoot is a store's own root.
type OwnRoot interface {
	// Current returns the current state of the root. The error is fs.ErrNotExist if the root
	// has no state yet.
	Current() (cid.Cid, error)

	// AloneIn returns the root of a directory that holds one repository of a state of this
	// root alone, at its name.
	AloneIn(ctx context.Context, state cid.Cid, name string) (cid.Cid, error)

	// Name returns the root's IPNS name (k51…), and false if it has none.
	Name() (name string, ok bool)
}

// ParseRoot reads the address of a root: a CID, an IPNS key or a domain.
func ParseRoot(address string) (*Root, error) {
	c, err := cidname.ParseAny(address)
	if err == nil {
		if c = cid.NewCidV1(c.Type(), c.Hash()); c.Type() == cid.Raw {
			return nil, fmt.Errorf("%s is a file, not a directory of images", address)
		}
		return &Root{CID: c}, nil
	}
	name, err := names.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a CID nor an IPNS key nor a domain", address)
	}
	return &Root{Name: name}, nil
}

var hostPattern = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?$|^\[[0-9a-f:.]+\](:[0-9]+)?$`)

// CheckHost returns an error if s is not the host of a registry.
func CheckHost(s string) error {
	if !hostPattern.MatchString(s) {
		return fmt.Errorf("%q is not the host of a registry: write <host>[:<port>] as in image names, in lower case", s)
	}
	return nil
}

// now returns the CID of a root that is not a name.
func (r *Root) now() (cid.Cid, error) {
	if r.Own == nil {
		return r.CID, nil
	}
	c, err := r.Own.Current()
	if errors.Is(err, fs.ErrNotExist) {
		return emptyDirectory, nil
	}
	return c, err
}

// emptyDirectory is the CID of a root into which nothing was put. No store need have it.
var emptyDirectory = cid.MustParse("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")

// isOwn reports whether a name is the IPNS name of the own root. It is false for a nil Root.
func (r *Root) isOwn(n names.Name) bool {
	if r == nil || r.Own == nil {
		return false
	}
	own, ok := r.Own.Name()
	return ok && own == n.String()
}

// IsName reports whether the root is a name, which can change. It is false for a nil Root.
func (r *Root) IsName() bool { return r != nil && r.Name != names.Name{} }

// dockerHub is the registry of image names without a registry.
const dockerHub = "docker.io"

// officialPrefix is the prefix that Docker adds to its names of one component.
const officialPrefix = "library/"

// normalHost returns a host as image names spell it: one name for the hosts of Docker Hub,
// and no port of HTTPS.
func normalHost(s string) string {
	s = strings.TrimSuffix(strings.ToLower(s), ":443")
	switch s {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub
	}
	return s
}

// A namespace says what plain names mean in one request. A plain name is a repository that
// does not begin with an address.
type namespace struct {
	root    *Root  // nil if there are no plain names
	isHub   bool   // whether names may begin with Docker's prefix
	asked   string // the registry that the client wants an image of; empty if it names none
	foreign bool   // whether images of that registry are not served here
}

// namespaceOf returns the namespace of a request. containerd names the registry whose image
// it wants in the query.
func namespaceOf(r *http.Request, root *Root) namespace {
	n := namespace{root: root}
	if r.URL.RawQuery != "" {
		n.asked = r.URL.Query().Get("ns")
	}
	var hosts []string
	if root != nil {
		hosts = root.Hosts
	}
	wanted := normalHost(n.asked)
	isOf := func(host string) bool { return normalHost(host) == wanted }
	switch {
	case n.asked == "" || isOf(r.Host):
		n.isHub = slices.ContainsFunc(hosts, func(host string) bool { return normalHost(host) == dockerHub })
	case slices.ContainsFunc(hosts, isOf):
		n.isHub = wanted == dockerHub
	default:
		n.foreign = true
	}
	return n
}

// isPlain reports whether a repository is a plain name.
func (n namespace) isPlain(repository string) bool {
	return (n.root != nil || n.foreign) && !isAddress(repository)
}

// parse returns the request for a plain name.
func (n namespace) parse(repository string) (request, error) {
	if n.foreign {
		return request{}, &protocolError{codeNameUnknown, fmt.Sprintf("images of %.100q are not served here", n.asked)}
	}
	name := repository
	if n.isHub {
		name = strings.TrimPrefix(name, officialPrefix)
	}
	if err := checkName(name, repository); err != nil {
		return request{}, err
	}
	q := request{repository: repository, rooted: true, name: n.root.Name, Query: images.Query{Image: layout.Image{Root: n.root.CID, Name: name}}}
	if n.root.IsName() {
		q.Via = n.root.Name.String()
	}
	return q, nil
}

// tell names the image's registry in the answer if the client named it, so that clients
// know that the registry understood them.
func (n namespace) tell(w http.ResponseWriter, q request) {
	if n.asked != "" && q.rooted {
		w.Header().Set("OCI-Namespace", n.asked)
	}
}

// isAddress reports whether a repository begins with an address on IPFS. This includes
// misspelt ones, so that the client gets an error about the spelling.
func isAddress(repository string) bool {
	first, rest, _ := strings.Cut(repository, "/")
	switch first {
	case "ipfs":
		first, _, _ = strings.Cut(rest, "/")
	case "ipns":
		first, _, _ = strings.Cut(rest, "/")
		if _, err := names.Parse(first); err == nil {
			return true
		}
	}
	if _, err := cid.Decode(first); err == nil {
		return true
	}
	_, err := cidname.Parse(first)
	_, misspelt := errors.AsType[*cidname.SpellingError](err)
	return err == nil || misspelt
}
