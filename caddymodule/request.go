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
)

// A request is what a path asks for. It is made by parseRequest only, so all
// that is in it is valid.
type request struct {
	kind      kind
	ipns      names.Name // that the image was asked for by, if any
	expires   time.Time  // when that has to be looked up again
	image     layout.Image
	reference string        // of a manifest: a tag or a digest
	digest    digest.Digest // of a blob, or of a manifest if it is asked for by digest
}

// fields are those that every log entry about the request has.
func (q request) fields(more ...zap.Field) []zap.Field {
	fields := []zap.Field{zap.Stringer("cid", q.image.Root), zap.String("name", q.image.Name)}
	if q.isNamed() {
		fields = append(fields, zap.Stringer("ipns", q.ipns))
	}
	if q.kind == kindManifest {
		fields = append(fields, zap.String("reference", q.reference))
	} else {
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
func parseRequest(u *url.URL) (request, error) {
	if u.Path == base || u.Path == base+"/" {
		return request{kind: kindBase}, nil
	}
	if path.Clean(u.Path) != u.Path || strings.Count(u.EscapedPath(), "/") != strings.Count(u.Path, "/") {
		return request{}, &registryError{codeNameInvalid, "the path has empty, dotted or escaped parts"}
	}
	rest, last := path.Split(strings.TrimPrefix(u.Path, base+"/"))
	repository, resource := path.Split(strings.TrimSuffix(rest, "/"))
	if repository == "" {
		return request{}, &registryError{codeNotOffered, "there is nothing at this path"}
	}
	image, name, err := parseRepository(strings.TrimSuffix(repository, "/"))
	if err != nil {
		return request{}, err
	}
	q := request{ipns: name, image: image}
	switch resource {
	case "manifests":
		return q.parseManifest(last)
	case "blobs":
		q.kind = kindBlob
		q.digest, err = parseDigest(last)
		return q, err
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
	case errors.Is(err, cidname.ErrNotCID):
		return layout.Image{}, &registryError{codeNameUnknown, "images here are named by their address on IPFS, " +
			"<cid>[/<name>], as the converter prints it: " + err.Error()}
	}
	return layout.Image{}, &registryError{codeNameInvalid, err.Error()}
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
