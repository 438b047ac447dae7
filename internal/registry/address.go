package registry

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// An Address is the address of images, however clients spell it: a CID, an IPNS key or a
// domain, and perhaps the name of an image or of a directory of images below it.
type Address struct {
	root cid.Cid    // a CIDv1; undefined for a name
	name names.Name // the zero Name for a CID
	path string
}

// ParseAddress reads <cid or name>[/<name>], also with /ipfs/ or /ipns/ before it. A CID
// may have any spelling.
func ParseAddress(s string) (Address, error) {
	rest := strings.TrimPrefix(s, "/")
	for _, namespace := range []string{"ipfs/", "ipns/"} {
		rest = strings.TrimPrefix(rest, namespace)
	}
	first, path, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	a := Address{path: path}
	if path != "" {
		if err := layout.CheckName(path); err != nil {
			return Address{}, err
		}
	}
	if c, err := cidname.ParseAny(first); err == nil {
		a.root = cid.NewCidV1(c.Type(), c.Hash())
		return a, nil
	}
	var err error
	if a.name, err = names.Parse(first); err != nil {
		return Address{}, fmt.Errorf("%q is neither a CID nor an IPNS key nor a domain", first)
	}
	return a, nil
}

// Contains reports whether a request is for an image at the address or below it. The path
// of the request alone decides: a name is not resolved.
func (a Address) Contains(u *url.URL) bool {
	if !Serves(u.Path) {
		return false
	}
	q, err := parseRequest(u, namespace{})
	if err != nil || q.kind == kindBase || q.kind == kindCatalog {
		return false // and not served
	}
	if a.root.Defined() {
		// The codec does not matter: the same block has the same hash.
		if !q.Image.Root.Defined() || string(q.Image.Root.Hash()) != string(a.root.Hash()) {
			return false
		}
	} else if q.name != a.name {
		return false
	}
	return a.path == "" || q.Image.Name == a.path || strings.HasPrefix(q.Image.Name, a.path+"/")
}
