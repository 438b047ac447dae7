package caddymodule

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

const base = "/v2"

// isOurs reports whether a path belongs to the registry.
func isOurs(p string) bool { return p == base || strings.HasPrefix(p, base+"/") }

type kind int

const (
	kindBase     kind = iota // whether this is a registry
	kindManifest             // by tag or digest
	kindBlob
	kindTags      // of an image
	kindReferrers // of a manifest
	kindCatalog   // of the registry
)

// A request is what a path asks for. It is made by parseRequest only, so all
// that is in it is valid.
type request struct {
	kind       kind
	repository string     // as the client spells it
	rooted     bool       // whether it is a name below the configured root
	ipns       names.Name // that the image was asked for by, if any
	expires    time.Time  // when that has to be looked up again
	image      layout.Image
	reference  string        // of a manifest: a tag or a digest
	digest     digest.Digest // of a blob, of a manifest if it is asked for by digest, or of what is referred to

	seen *observation // that is made of it, for whoever runs the server
}

// fields are those that every log entry about the request has.
func (q request) fields(more ...zap.Field) []zap.Field {
	fields := []zap.Field{zap.Stringer("cid", q.image.Root), zap.String("name", q.image.Name)}
	if q.isNamed() {
		fields = append(fields, zap.Stringer("ipns", q.ipns))
	}
	switch {
	case q.kind == kindManifest:
		fields = append(fields, zap.String("reference", q.reference))
	case q.digest != "":
		fields = append(fields, zap.String("digest", q.digest.String()))
	}
	return append(fields, more...)
}

// parseRequest reads the path of a URL, which isOurs. Its error is a
// *registryError.
//
// A path is taken as it is or refused, never put in order. Then whatever
// decided on the way here who may ask for it, by its own idea of order, decided
// about the same path.
func parseRequest(u *url.URL, ns namespace) (request, error) {
	switch u.Path {
	case base, base + "/":
		return request{kind: kindBase}, nil
	case base + "/_catalog":
		return request{kind: kindCatalog}, nil
	}
	if path.Clean(u.Path) != u.Path || strings.Count(u.EscapedPath(), "/") != strings.Count(u.Path, "/") {
		return request{}, &registryError{codeNameInvalid, "the path has empty, dotted or escaped parts"}
	}
	rest, last := path.Split(strings.TrimPrefix(u.Path, base+"/"))
	repository, resource := path.Split(strings.TrimSuffix(rest, "/"))
	if repository == "" {
		return request{}, &registryError{codeNotOffered, "there is nothing at this path"}
	}
	q, err := parseRepository(strings.TrimSuffix(repository, "/"), ns)
	if err != nil {
		return request{}, err
	}
	switch {
	case resource == "manifests":
		return q.parseManifest(last)
	case resource == "blobs":
		q.kind = kindBlob
		q.digest, err = parseDigest(last)
		return q, err
	case resource == "referrers":
		q.kind = kindReferrers
		q.digest, err = parseDigest(last)
		return q, err
	case resource == "tags" && last == "list":
		q.kind = kindTags
		return q, nil
	}
	return request{}, &registryError{codeNotOffered, fmt.Sprintf("%s/%s is not offered here", resource, last)}
}

func parseImage(repository string) (layout.Image, error) {
	image, err := layout.ParseImage(repository)
	switch {
	case err == nil:
		return image, nil
	case layout.CheckName(repository) != nil:
		return layout.Image{}, &registryError{codeNameInvalid, err.Error()}
	case isKey(repository):
		return layout.Image{}, &registryError{codeNameUnknown, "this is an IPNS key, and no address of content: put ipns/ before it"}
	case errors.Is(err, cidname.ErrNotCID):
		return layout.Image{}, &registryError{codeNameUnknown, "images here are named by their address on IPFS, " +
			"<cid>[/<name>], as the converter prints it: " + err.Error()}
	}
	return layout.Image{}, &registryError{codeNameInvalid, err.Error()}
}

// isKey reports whether a repository begins with an IPNS key.
func isKey(repository string) bool {
	first, _, _ := strings.Cut(repository, "/")
	name, err := names.Parse(first)
	return err == nil && name.Domain() == ""
}

func (q request) parseManifest(reference string) (request, error) {
	q.kind, q.reference = kindManifest, reference
	if layout.IsDigest(reference) {
		var err error
		q.digest, err = parseDigest(reference)
		return q, err
	}
	if err := layout.CheckTag(reference); err != nil {
		return request{}, &registryError{codeManifestUnknown, err.Error()}
	}
	return q, nil
}

func parseDigest(s string) (digest.Digest, error) {
	d, err := layout.ParseDigest(s)
	if err != nil {
		return "", &registryError{codeDigestInvalid, err.Error()}
	}
	return d, nil
}
