package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// Root is a directory on IPFS whose images are served under their plain names,
// as any other registry serves its own, and as a mirror of other registries:
//
//	docker pull registry.example.com/<name>[:<tag>]
//
// A repository that begins with an address means the same with a root as
// without. A tag is one that `tags/list` has: `latest` is answered where an image
// is tagged so, and not where it is only how the image is found when nobody names
// a tag. Where it stands beside the only other tag of an image, nothing tells
// which of the two it is, and it is not answered. What a plain name stands for
// changes with the configuration, so tags have to be asked for again (`no-cache`),
// which costs a 304.
type Root struct {
	// The directory: a CID in any spelling, an IPNS key or a domain with a
	// DNSLink. To name it here is to allow it, whatever `names` says; what it
	// stands for is looked up, and may be cached, as there.
	Address string `json:"address,omitempty"`

	// The registries that the images are from. containerd says which one it wants
	// an image of when it asks a mirror (`?ns=<host>`); images of others than
	// these and of this host are not found then. `library/` is left out of
	// names where `docker.io` is meant.
	//
	// The directory does not tell where an image is from, so of several hosts each
	// is one that all images in it are from as far as clients can tell: name
	// several only if no two of them have different images of one name. Docker
	// asks its `registry-mirrors` for images of `docker.io` only, and does not
	// say so. A server that is one must have a root with nothing else in it.
	//
	// Default: none. Then `?ns=` of any host but this is not found.
	For []string `json:"for,omitempty"`
}

// A root is a Root that was read.
type root struct {
	cid   cid.Cid    // undefined if it is a name
	name  names.Name // the zero Name if it is a CID
	hosts []string
}

// dockerHub is how clients call the registry of images that are named without one.
const dockerHub = "docker.io"

// officialPrefix is what Docker puts before names of one part there.
const officialPrefix = "library/"

func (r *Root) provision() (*root, error) {
	to, err := parseRoot(r.Address)
	if err != nil {
		return nil, err
	}
	for _, host := range r.For {
		if err := checkHost(host); err != nil {
			return nil, err
		}
	}
	to.hosts = r.For
	return to, nil
}

func parseRoot(address string) (*root, error) {
	c, err := cidname.ParseAny(address)
	if err == nil {
		if c = cid.NewCidV1(c.Type(), c.Hash()); c.Type() == cid.Raw {
			return nil, fmt.Errorf("%s is a file, not a directory of images", address)
		}
		return &root{cid: c}, nil
	}
	name, err := names.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a CID nor an IPNS key nor a domain", address)
	}
	return &root{name: name}, nil
}

var host = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?$|^\[[0-9a-f:.]+\](:[0-9]+)?$`)

func checkHost(s string) error {
	if !host.MatchString(s) {
		return fmt.Errorf("%q is no registry host: it is <host>[:<port>] as in image names, in lower case", s)
	}
	return nil
}

// isName reports whether the root is one whose meaning can change.
func (r *root) isName() bool { return r != nil && r.name != names.Name{} }

// A namespace is what a repository that begins with no address means in one
// request.
type namespace struct {
	root   *root  // nil for nothing
	isHub  bool   // whether it may be Docker's, with its prefix
	ofHost string // whose images were asked for, which are not here
}

// namespace returns what the query of a request makes of plain names.
func (h *Handler) namespace(r *http.Request) namespace {
	var ns string
	if r.URL.RawQuery != "" {
		ns = r.URL.Query().Get("ns")
	}
	switch {
	case ns == "" || strings.EqualFold(ns, r.Host):
		return namespace{root: h.root, isHub: h.root != nil && slices.Contains(h.root.hosts, dockerHub)}
	case h.root != nil && slices.Contains(h.root.hosts, ns):
		return namespace{root: h.root, isHub: ns == dockerHub}
	}
	return namespace{ofHost: ns}
}

// knows reports whether it is for the namespace to say what a repository is.
func (n namespace) knows(repository string) bool {
	return (n.root != nil || n.ofHost != "") && !isAddress(repository)
}

// request returns the one for a plain name.
func (n namespace) request(repository string) (request, error) {
	if n.ofHost != "" {
		return request{}, &registryError{codeNameUnknown, fmt.Sprintf("images of %.100q are not served here", n.ofHost)}
	}
	name := repository
	if n.isHub {
		name = strings.TrimPrefix(name, officialPrefix)
	}
	if err := checkName(name, repository); err != nil {
		return request{}, err
	}
	return request{
		repository: repository,
		rooted:     true,
		ipns:       n.root.name,
		image:      layout.Image{Root: n.root.cid, Name: name},
	}, nil
}

// isAddress reports whether a repository begins with what is on IPFS, in
// whatever spelling, so that somebody who got it wrong is told.
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

func (h *Handler) unmarshalRoot(d *caddyfile.Dispenser) error {
	if h.Root != nil {
		return d.Err("root already specified")
	}
	h.Root = new(Root)
	if !d.AllArgs(&h.Root.Address) {
		return d.ArgErr()
	}
	if _, err := parseRoot(h.Root.Address); err != nil {
		return d.Errf("invalid root: %v", err)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "for":
			hosts := d.RemainingArgs()
			if len(hosts) == 0 {
				return d.ArgErr()
			}
			for _, host := range hosts {
				if err := checkHost(host); err != nil {
					return d.Errf("invalid for: %v", err)
				}
			}
			h.Root.For = append(h.Root.For, hosts...)
		default:
			return d.Errf("unrecognized root subdirective '%s'", d.Val())
		}
	}
	return nil
}
