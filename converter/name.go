package converter

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A ref is what an image is called below its root: the repository without its
// registry host, and the tag. Both are empty for an untagged image.
type ref struct{ name, tag string }

func (r ref) String() string { return r.name + ":" + r.tag }

// parseRef reads a reference as Docker, containerd and podman write it. An
// image that was pulled from an IPFS address is called by what followed it.
func parseRef(s string) (ref, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return ref{}, fmt.Errorf("image name %q: %w", s, err)
	}
	r := ref{name: reference.Path(named)}
	if reference.Domain(named) == "docker.io" {
		r.name = reference.FamiliarName(named)
	}
	if img, err := layout.ParseImage(r.name); err == nil {
		r.name = img.Name
	}
	switch t := reference.TagNameOnly(named).(type) {
	case reference.Tagged:
		r.tag = t.Tag()
	}
	return r, nil
}

// fullName returns a reference with all that may be left out.
func fullName(s string) (string, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

// checkRef reports why clients could not pull what is called so below an
// address, if so.
func checkRef(r ref) error {
	if len(r.name) > maxName {
		return fmt.Errorf("image name %q has %d characters, and below an address there is room for %d", r.name, len(r.name), maxName)
	}
	if r.name != "" {
		if err := layout.CheckName(r.name); err != nil {
			return err
		}
	}
	if r.tag != "" {
		return layout.CheckTag(r.tag)
	}
	return nil
}

// maxName is what is left for a name after an address and a slash.
const maxName = layout.MaxName - cidname.Length - 1

// parseRepoTags reads the names of one image, which has one empty name where
// the archive gives none.
func parseRepoTags(tags []string) ([]ref, error) {
	if len(tags) == 0 {
		return []ref{{}}, nil
	}
	refs := make([]ref, len(tags))
	for i, t := range tags {
		var err error
		if refs[i], err = parseRef(t); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// ociReferences names an image of an OCI index: as the index says or, where it
// does not, as Docker's list beside it says.
func ociReferences(d v1.Descriptor, repoTags []string) ([]ref, error) {
	if name := d.Annotations[ocilayout.ContainerdName]; name != "" {
		return parseRepoTags([]string{name})
	}
	if len(repoTags) > 0 {
		return parseRepoTags(repoTags)
	}
	name := d.Annotations[v1.AnnotationRefName]
	switch {
	case name == "":
		return []ref{{}}, nil
	case strings.ContainsAny(name, ":/"):
		return parseRepoTags([]string{name})
	}
	return []ref{{tag: name}}, layout.CheckTag(name)
}

// repoTags returns the names that Docker's list gives, by the config's digest.
func (a *archive) repoTags() (map[digest.Digest][]string, error) {
	list, err := a.dockerList()
	if err != nil {
		return nil, err
	}
	tags := map[digest.Digest][]string{}
	for _, entry := range list {
		c, err := a.find(entry.Config)
		if err != nil {
			return nil, fmt.Errorf("config %w", err)
		}
		tags[c.Digest] = append(tags[c.Digest], entry.RepoTags...)
	}
	return tags, nil
}

func (a *archive) dockerList() ([]ocilayout.DockerEntry, error) {
	data := a.documents[ocilayout.DockerList]
	if data == nil {
		return nil, nil
	}
	var list []ocilayout.DockerEntry
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("reading %s: %w", ocilayout.DockerList, err)
	}
	return list, nil
}
