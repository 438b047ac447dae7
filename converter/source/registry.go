package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/remote"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// FromRegistry returns the source of an image in a registry, with what the
// registry lists as being about it: signatures, bills of materials. Credentials
// are those that docker and podman keep. Where verify is false, the registry need
// not prove who it is, nor encrypt.
func FromRegistry(image string, verify bool) Source {
	return fromRegistry{image, verify, remote.Patience}
}

type fromRegistry struct {
	image    string
	verify   bool
	patience time.Duration
}

// read makes up the index of a layout that has the image and its referrers.
func (s fromRegistry) read(a *archive) error {
	called, err := parseRef(s.image)
	if err != nil {
		return err
	}
	if err := a.want.check([]ref{called}); err != nil {
		return err
	}
	image, err := s.parse()
	if err != nil {
		return fmt.Errorf("image name %q: %w", s.image, err)
	}
	dialed, err := remote.DialRegistry(a.ws.Context, image.Context(), s.verify, s.patience)
	if err != nil {
		return err
	}
	r := registry{dialed, a}
	a.where, a.published, a.fetch = r.String(), true, r.Fetch
	top, err := r.top(image)
	if err != nil {
		return err
	}
	if top, err = a.chooseNow(top); err != nil {
		return err
	}
	about, err := r.referrers(top.Digest)
	if err != nil {
		return err
	}
	top.Annotations = map[string]string{ocilayout.ContainerdName: s.image}
	a.documents[ocilayout.Index], err = json.Marshal(v1.Index{Manifests: append([]v1.Descriptor{top}, about...)})
	return err
}

func (s fromRegistry) parse() (name.Reference, error) {
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

// A registry is a repository of which an image is read into an archive.
type registry struct {
	*remote.Registry
	to *archive
}

// top reads the manifest or index that the image is.
func (r *registry) top(image name.Reference) (v1.Descriptor, error) {
	data, err := r.Document(r.to.ws.Context, "manifests/"+image.Identifier())
	if errors.Is(err, ocilayout.ErrMissing) {
		return v1.Descriptor{}, r.NoSuchImage(r.to.ws.Context, image)
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("what %s gives for %s is %w", r, image, err)
	}
	d := v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(data))}
	if layout.IsDigest(image.Identifier()) {
		d.Digest = digest.Digest(image.Identifier())
	}
	_, err = r.to.put(d, data)
	return d, err
}

// referrers returns what the registry lists as being about a manifest, in
// whichever of the two ways that there are. No registry needs to have such a
// list, and yet one that it does not give for now is not taken for none.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
func (r *registry) referrers(subject digest.Digest) ([]v1.Descriptor, error) {
	list, err := r.list("referrers/" + subject.String())
	if remote.IsUnsupported(err) || errors.Is(err, errNoList) {
		list, err = r.list("manifests/" + subject.Algorithm().String() + "-" + subject.Encoded())
	}
	if remote.IsUnsupported(err) || errors.Is(err, errNoList) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking what is about the image: %w", err)
	}
	var about []v1.Descriptor
	for _, d := range list {
		if manifest.IsManifest(d) {
			about = append(about, v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		}
	}
	return r.present(about), nil
}

// maxPages is how many pages a list may have.
const maxPages = 1000

var errNoList = errors.New("is no index")

// list reads what an index names, of which a registry may give a page at a time.
func (r *registry) list(path string) ([]v1.Descriptor, error) {
	var list []v1.Descriptor
	for range maxPages {
		data, next, err := r.Page(r.to.ws.Context, path)
		var index v1.Index
		if err == nil && (json.Unmarshal(data, &index) != nil || index.Manifests == nil) {
			err = fmt.Errorf("what %s has at %s %w", r, path, errNoList)
		}
		if err == nil {
			err = r.to.count(len(index.Manifests))
		}
		if err != nil && list != nil {
			//nolint:errorlint // what has begun is supported, and there
			return nil, fmt.Errorf("a list ends early: %v", err)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, index.Manifests...)
		if next == "" {
			return list, nil
		}
		path = next
	}
	return nil, fmt.Errorf("%s gives a list in more than %d pages", r, maxPages)
}

// present returns those of the manifests that the registry has.
func (r *registry) present(descriptors []v1.Descriptor) []v1.Descriptor {
	r.to.fetchAll(descriptors)
	var present []v1.Descriptor
	for _, d := range descriptors {
		if err := r.to.failed[d.Digest]; errors.Is(err, ocilayout.ErrMissing) {
			r.to.logf("what is said to be about the image is left out: %v", err)
			continue
		}
		present = append(present, d)
	}
	return present
}
