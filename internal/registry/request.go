package registry

import (
	"fmt"
	"net/url"
	"strings"
	"time"

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
	kindUploads   // of blobs to an image
	kindUpload    // one of them
)

// String returns the kind as operators know it.
func (k kind) String() string {
	return [...]string{"base", "manifest", "blob", "tags", "referrers", "catalog", "upload", "upload"}[k]
}

// A request is a parsed path. Only parseRequest makes requests, so their fields are valid.
type request struct {
	images.Query
	kind       kind
	repository string     // as the client spells it
	rooted     bool       // whether it is a plain name, below the configured root
	upload     string     // the id of an upload
	name       names.Name // the IPNS key or domain in the request, if any
	expires    time.Time  // when the name has to be looked up again

	// way has the name and those that it leads through, each with the path of the image
	// below it.
	way []names.Step
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

// location returns the URL of something else in the requested repository. It has the path
// that the client requested, and no host, so that it is right behind every proxy.
func (q request) location(r Request, resource string) string {
	repository := prefix + "/" + q.repository
	if r.Original != nil {
		if original, ok := strings.CutSuffix(r.Original.Path, strings.TrimPrefix(r.URL.Path, repository)); ok {
			repository = original
		}
	}
	return (&url.URL{Path: repository + resource}).String()
}

// isNamed reports whether the request names the image by an IPNS key or a domain.
func (q request) isNamed() bool { return q.name != names.Name{} }

// paths returns the paths below the root, or below the name, at which the requested content
// may be.
func (q request) paths() []string {
	switch q.kind {
	case kindManifest:
		return layout.ManifestPaths(q.Image.Name, q.Reference)
	case kindBlob:
		return []string{layout.BlobPath(q.Image.Name, q.Digest)}
	case kindReferrers:
		return []string{layout.ReferrersPath(q.Image.Name, q.Digest), layout.FallbackPath(q.Image.Name, q.Digest), q.Image.Name}
	}
	return []string{q.Image.Name}
}

// checkName returns the answer to a name that no image can have. The name is a part of the
// repository.
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
