package registry

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

const prefix = "/v2"

// Serves reports whether a path belongs to the registry.
func Serves(path string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

// parseRequest reads the path of a URL that the registry Serves. Its error is a
// *protocolError.
//
// A path is used unchanged or refused, but never cleaned. So a handler that restricts access
// by path sees the same path as this one.
func parseRequest(u *url.URL, ns namespace) (request, error) {
	switch u.Path {
	case prefix, prefix + "/":
		return request{kind: kindBase}, nil
	case prefix + "/_catalog":
		return request{kind: kindCatalog}, nil
	}
	whole := u.Path
	if strings.HasSuffix(whole, uploads+"/") { // the one path of the protocol that ends in a slash
		whole = strings.TrimSuffix(whole, "/")
	}
	if path.Clean(whole) != whole || strings.Count(u.EscapedPath(), "/") != strings.Count(u.Path, "/") {
		return request{}, &protocolError{codeNameInvalid, "the path has empty, dotted or escaped parts"}
	}
	if repository, upload, ok := cutUpload(strings.TrimPrefix(whole, prefix+"/")); ok {
		q, err := parseRepository(repository, ns)
		if q.kind, q.upload = kindUpload, upload; upload == "" {
			q.kind = kindUploads
		}
		return q, err
	}
	rest, last := path.Split(strings.TrimPrefix(whole, prefix+"/"))
	repository, resource := path.Split(strings.TrimSuffix(rest, "/"))
	if repository == "" {
		return request{}, &protocolError{codeNotOffered, "the registry has nothing at this path"}
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

// uploads is the end of the path of a repository's uploads.
const uploads = "/blobs/uploads"

// cutUpload splits the path of a repository's uploads, or of one of them.
func cutUpload(p string) (repository, upload string, ok bool) {
	if repository, ok = strings.CutSuffix(p, uploads); ok {
		return repository, "", true
	}
	dir, last := path.Split(p)
	repository, ok = strings.CutSuffix(dir, uploads+"/")
	return repository, last, ok
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

// ofDigest returns the request for a blob, manifest or referrers of the repository by digest.
func (q request) ofDigest(k kind, s string) (request, error) {
	d, err := layout.ParseDigest(s)
	if err != nil {
		return request{}, &protocolError{codeDigestInvalid, err.Error()}
	}
	q.kind, q.Digest = k, d
	return q, nil
}

// parseRepository reads a repository: an address, a name that is resolved later, or a plain
// name in the namespace.
func parseRepository(repository string, ns namespace) (request, error) {
	if ns.isPlain(repository) {
		return ns.parse(repository)
	}
	q, err := parseAddressed(repository)
	if err != nil {
		return request{}, &addressError{err}
	}
	return q, nil
}

// An addressError says why a repository that begins with an address cannot be pulled.
type addressError struct{ answer error }

func (e *addressError) Error() string { return e.answer.Error() }

func (e *addressError) Unwrap() error { return e.answer }

// parseAddressed reads a repository that begins with an address.
func parseAddressed(repository string) (request, error) {
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
	if err == nil {
		return image, nil
	}
	isName := layout.CheckName(repository) == nil
	if isName && isKey(repository) {
		return layout.Image{}, &protocolError{codeNameUnknown, "this is an IPNS key, not the address of content: put ipns/ before it"}
	}
	code, message := codeNameInvalid, err.Error()
	if isName && errors.Is(err, cidname.ErrNotCID) {
		code = codeNameUnknown
	}
	_, misspelt := errors.AsType[*cidname.SpellingError](err)
	if errors.Is(err, cidname.ErrNotCID) && !misspelt {
		message = fmt.Sprintf("images here are named by their address on IPFS, <cid>[/<name>], as the converter prints it, "+
			"and %.100q is not an address", addressOf(repository))
	}
	return layout.Image{}, &protocolError{code, message}
}

// isKey reports whether a repository begins with an IPNS key.
func isKey(repository string) bool {
	first, _, _ := strings.Cut(repository, "/")
	name, err := names.Parse(first)
	return err == nil && name.Domain() == ""
}
