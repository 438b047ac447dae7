package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/remote"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// FromRegistry returns the source of an image in a registry and of its referrers
// there: signatures, bills of materials. It uses the credentials that docker and
// podman keep. If verify is false, the registry need not prove who it is, nor encrypt.
func FromRegistry(image string, verify bool) Source {
	return registrySource{image, verify, remote.Patience}
}

type registrySource struct {
	image    string
	verify   bool
	patience time.Duration
}

// Image implements Source.
func (s registrySource) Image() string { return s.image }

// Open implements Source.
func (s registrySource) Open(ws *blob.Workspace) (*Layout, error) {
	image, err := s.parse()
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w", s.image, err)
	}
	r, err := remote.DialRegistry(ws.Context, image.Context(), s.verify, s.patience)
	if err != nil {
		return nil, err
	}
	l := newLayout(ws, r.String())
	l.Published, l.fetch = true, r.Fetch
	l.listReferrers = func(subject digest.Digest) ([]v1.Descriptor, error) {
		return referrers(ws.Context, r, subject)
	}
	top, data, err := readTop(ws.Context, r, image)
	if err != nil {
		return nil, err
	}
	if _, err := l.put(ocilayout.BlobPath(top.Digest), data); err != nil {
		return nil, err
	}
	top.Annotations = map[string]string{ocilayout.ContainerdName: s.image}
	l.Index = &v1.Index{Manifests: []v1.Descriptor{top}}
	return l, nil
}

func (s registrySource) parse() (name.Reference, error) {
	named, err := reference.ParseNormalizedNamed(s.image)
	if err != nil {
		return nil, err
	}
	var options []name.Option
	if !s.verify {
		options = append(options, name.Insecure)
	}
	return name.ParseReference(reference.TagNameOnly(named).String(), options...)
}

// readTop reads the manifest or index that an image is.
func readTop(ctx context.Context, r *remote.Registry, image name.Reference) (v1.Descriptor, []byte, error) {
	data, err := r.Document(ctx, "manifests/"+image.Identifier())
	if manifest.IsMissing(err) {
		return v1.Descriptor{}, nil, r.NoSuchImage(ctx, image)
	}
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return v1.Descriptor{}, nil, fmt.Errorf("what %s gives for %s is %w", r, image, err)
	}
	d := v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(data))}
	if layout.IsDigest(image.Identifier()) {
		d.Digest = digest.Digest(image.Identifier())
	}
	return d, data, nil
}

// Bounds of a registry's list of referrers.
const (
	maxPages     = 1000
	maxReferrers = 1 << 18
)

var errNoIndex = errors.New("is not an index")

// referrers returns the manifests that a registry lists as referrers of a subject, in
// either of the two ways in which registries do. A registry need not have such a list,
// but a list that it fails to give is not taken for an empty one.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
func referrers(ctx context.Context, r *remote.Registry, subject digest.Digest) ([]v1.Descriptor, error) {
	list, err := readList(ctx, r, "referrers/"+subject.String())
	if remote.IsUnsupported(err) || errors.Is(err, errNoIndex) {
		list, err = readList(ctx, r, "manifests/"+subject.Algorithm().String()+"-"+subject.Encoded())
	}
	if remote.IsUnsupported(err) || errors.Is(err, errNoIndex) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the referrers of the image: %w", err)
	}
	var manifests []v1.Descriptor
	for _, d := range list {
		if manifest.IsManifest(d) {
			manifests = append(manifests, v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		}
	}
	return manifests, nil
}

// readList reads the entries of an index, which a registry may give in pages.
func readList(ctx context.Context, r *remote.Registry, path string) ([]v1.Descriptor, error) {
	var list []v1.Descriptor
	for range maxPages {
		page, next, err := readPage(ctx, r, path)
		if err != nil && list != nil {
			//nolint:errorlint // a list that has begun is there, and supported
			return nil, fmt.Errorf("a list ends early: %v", err)
		}
		if err != nil {
			return nil, err
		}
		if list = append(list, page...); len(list) > maxReferrers {
			return nil, fmt.Errorf("%s lists more than %d manifests", r, maxReferrers)
		}
		if next == "" {
			return list, nil
		}
		path = next
	}
	return nil, fmt.Errorf("%s gives a list in more than %d pages", r, maxPages)
}

func readPage(ctx context.Context, r *remote.Registry, path string) (page []v1.Descriptor, next string, err error) {
	data, next, err := r.Page(ctx, path)
	if err != nil {
		return nil, "", err
	}
	var index v1.Index
	if json.Unmarshal(data, &index) != nil || index.Manifests == nil {
		return nil, "", fmt.Errorf("what %s has at %s %w", r, path, errNoIndex)
	}
	return index.Manifests, next, nil
}
