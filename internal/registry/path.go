package registry

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

type kind int

const (
	kindBase     kind = iota // whether this is a registry
	kindManifest             // by tag or digest
	kindBlob
	kindTags      // of an image
	kindReferrers // of a manifest
	kindCatalog   // of the registry
)

// String returns the kind as operators know it.
func (k kind) String() string {
	return [...]string{"base", "manifest", "blob", "tags", "referrers", "catalog"}[k]
}

// A request is what a path asks for. It is made by parseRequest only, so all that is
// in it is valid.
type request struct {
	images.Query
	kind       kind
	repository string     // as the client spells it
	rooted     bool       // whether it is a plain name, below the configured root
	name       names.Name // the IPNS key or domain that the image was asked for by, if any
	expires    time.Time  // when the name has to be looked up again
}

// subject returns what the request is for.
func (q request) subject() Subject {
	s := Subject{Kind: q.kind.String(), Name: q.Image.Name, Reference: q.Reference}
	if s.Reference == "" {
		s.Reference = q.Digest.String()
	}
	if q.Image.Root.Defined() {
		s.CID = q.Image.Root.String()
	}
	return s
}

// isNamed reports whether the image was asked for by an IPNS key or a domain.
func (q request) isNamed() bool { return q.name != names.Name{} }

// paths returns where below its root, or below a name, the thing may be that the
// request is for.
func (q request) paths() []string {
	switch q.kind {
	case kindManifest:
		return layout.ManifestPaths(q.Image.Name, q.Reference)
	case kindBlob:
		return []string{layout.BlobPath(q.Image.Name, q.Digest)}
	case kindReferrers:
		return []string{layout.ReferrersPath(q.Image.Name, q.Digest), q.Image.Name}
	}
	return []string{q.Image.Name}
}

// parseRequest reads the path of a URL that the registry Serves. Its error is a
// *protocolError.
//
// A path is taken as it is or refused, and never cleaned. So a handler that decided
// before this one who may ask for the path decided about the same path.
func parseRequest(u *url.URL, ns namespace) (request, error) {
	switch u.Path {
	case base, base + "/":
		return request{kind: kindBase}, nil
	case base + "/_catalog":
		return request{kind: kindCatalog}, nil
	}
	if path.Clean(u.Path) != u.Path || strings.Count(u.EscapedPath(), "/") != strings.Count(u.Path, "/") {
		return request{}, &protocolError{codeNameInvalid, "the path has empty, dotted or escaped parts"}
	}
	rest, last := path.Split(strings.TrimPrefix(u.Path, base+"/"))
	repository, resource := path.Split(strings.TrimSuffix(rest, "/"))
	if repository == "" {
		return request{}, &protocolError{codeNotOffered, "there is nothing at this path"}
	}
	q, err := parseRepository(strings.TrimSuffix(repository, "/"), ns)
	if err != nil {
		return request{}, err
	}
	switch {
	case resource == "manifests":
		return q.ofManifest(last)
	case resource == "blobs":
		return q.ofDigest(kindBlob, last)
	case resource == "referrers":
		return q.ofDigest(kindReferrers, last)
	case resource == "tags" && last == "list":
		q.kind = kindTags
		return q, nil
	}
	return request{}, &protocolError{codeNotOffered, fmt.Sprintf("%s/%s is not offered here", resource, last)}
}

// ofManifest returns the request for a manifest of the repository.
func (q request) ofManifest(reference string) (request, error) {
	q.kind, q.Reference = kindManifest, reference
	if layout.IsDigest(reference) {
		return q.ofDigest(kindManifest, reference)
	}
	if err := layout.CheckTag(reference); err != nil {
		return request{}, &protocolError{codeManifestUnknown, err.Error()}
	}
	return q, nil
}

// ofDigest returns the request for something of the repository that has a digest.
func (q request) ofDigest(k kind, s string) (request, error) {
	d, err := layout.ParseDigest(s)
	if err != nil {
		return request{}, &protocolError{codeDigestInvalid, err.Error()}
	}
	q.kind, q.Digest = k, d
	return q, nil
}

// parseRepository reads a repository: an address, a name that is resolved later, or
// else a plain name, which is what ns says.
func parseRepository(repository string, ns namespace) (request, error) {
	if ns.isPlain(repository) {
		return ns.parse(repository)
	}
	if below, ok := strings.CutPrefix(repository, "ipns/"); ok {
		return parseNamed(repository, below)
	}
	image, err := parseImage(repository)
	return request{repository: repository, Query: images.Query{Image: image}}, err
}

// parseNamed reads a repository below an IPNS key or a domain.
func parseNamed(repository, below string) (request, error) {
	if err := checkName(below, repository); err != nil {
		return request{}, err
	}
	first, rest, _ := strings.Cut(below, "/")
	if _, err := cidname.Parse(first); err == nil {
		return request{}, &protocolError{codeNameUnknown, first + " is the address of content, not a name: leave out ipns/"}
	}
	name, err := names.Parse(first)
	if err != nil {
		return request{}, &protocolError{codeNameUnknown, err.Error()}
	}
	return request{repository: repository, name: name, Query: images.Query{Image: layout.Image{Name: rest}, Via: name.String()}}, nil
}

// parseImage reads an address and the name below it.
func parseImage(repository string) (layout.Image, error) {
	image, err := layout.ParseImage(repository)
	switch {
	case err == nil:
		return image, nil
	case layout.CheckName(repository) != nil:
		return layout.Image{}, &protocolError{codeNameInvalid, err.Error()}
	case isKey(repository):
		return layout.Image{}, &protocolError{codeNameUnknown, "this is an IPNS key, not the address of content: put ipns/ before it"}
	case errors.Is(err, cidname.ErrNotCID):
		return layout.Image{}, &protocolError{codeNameUnknown, "images here are named by their address on IPFS, " +
			"<cid>[/<name>], as the converter prints it: " + err.Error()}
	}
	return layout.Image{}, &protocolError{codeNameInvalid, err.Error()}
}

// isKey reports whether a repository begins with an IPNS key.
func isKey(repository string) bool {
	first, _, _ := strings.Cut(repository, "/")
	name, err := names.Parse(first)
	return err == nil && name.Domain() == ""
}

// checkName returns the answer to a name, part of a repository, that no image can have.
func checkName(name, repository string) error {
	if len(repository) > layout.MaxName {
		return &protocolError{codeNameInvalid, fmt.Sprintf("the name has %d characters, more than %d", len(repository), layout.MaxName)}
	}
	if err := layout.CheckName(name); err != nil {
		return &protocolError{codeNameInvalid, err.Error()}
	}
	return nil
}

// addressOf returns the part of a repository that is an address, as it is spelled.
func addressOf(repository string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(repository, "ipfs/"), "/")
	return first
}
