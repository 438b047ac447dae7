package converter

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// ociImages reads an OCI layout's index.
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
//
// Docker 25 and later write one as well. There the manifests of its classic
// store speak of plain tars and are made up for the archive: they are written
// anew, as those of older archives are, and the address is the same. What
// speaks of compressed layers, or is named by another manifest, was digested
// elsewhere and keeps its bytes.
func (a *archive) ociImages() ([]*image, error) {
	descriptors, fixed, err := a.ociDescriptors()
	if err != nil {
		return nil, err
	}
	repoTags, err := a.repoTags()
	if err != nil {
		return nil, err
	}
	var images []*image
	made := map[digest.Digest]*image{}
	for _, d := range descriptors {
		img := made[d.Digest]
		if img == nil {
			if img, err = a.ociImage(d, fixed[d.Digest]); err != nil {
				return nil, err
			}
			made[d.Digest] = img
		}
		references, err := ociReferences(d, repoTags[img.config])
		if err != nil {
			return nil, err
		}
		images = append(images, img.named(references)...)
	}
	return images, nil
}

// ociDescriptors returns what the layout's index names, as far as it is wanted,
// and which manifests others speak of by digest.
func (a *archive) ociDescriptors() ([]v1.Descriptor, map[digest.Digest]bool, error) {
	var index v1.Index
	if err := json.Unmarshal(a.documents[ocilayout.Index], &index); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", ocilayout.Index, err)
	}
	descriptors, err := a.wanted(index.Manifests)
	if err != nil {
		return nil, nil, err
	}
	fixed := map[digest.Digest]bool{}
	if a.want.platform != nil {
		if descriptors, err = a.chooseAll(descriptors, fixed); err != nil {
			return nil, nil, err
		}
	}
	if a.ws.Recompress {
		if descriptors, err = a.rewriteAll(descriptors); err != nil {
			return nil, nil, err
		}
	}
	return descriptors, fixed, a.markFixed(fixed, descriptors, 0)
}

// wanted returns those of the descriptors that are. Of those that have no name,
// the ones that are about a wanted image are found later.
func (a *archive) wanted(all []v1.Descriptor) ([]v1.Descriptor, error) {
	var wanted []v1.Descriptor
	var there, leftOut []string
	found := a.want.name == ""
	for _, d := range all {
		unnamed := d.Annotations[ocilayout.ContainerdName] == "" && d.Annotations[v1.AnnotationRefName] == ""
		if !unnamed && !a.want.is(names(d)...) {
			there = append(there, cmp.Or(names(d)...))
			continue
		}
		if !manifest.IsManifest(d) {
			leftOut = append(leftOut, fmt.Sprintf("%s of type %s is no image", d.Digest, d.MediaType))
			continue
		}
		if refs, err := ociReferences(d, nil); err != nil {
			return nil, err
		} else if err := a.want.check(refs); err != nil {
			return nil, err
		}
		found = found || !unnamed
		wanted = append(wanted, d)
	}
	switch {
	case !found:
		return nil, a.noSuchImage(there)
	case len(wanted) == 0 && len(leftOut) > 0:
		return nil, fmt.Errorf("the archive holds no image: %s", leftOut[0])
	}
	for _, why := range leftOut {
		a.logf("%s, and is left out", why)
	}
	return wanted, nil
}

// chooseAll puts the wanted platform's manifests in the place of indexes. These
// manifests were digested elsewhere.
func (a *archive) chooseAll(descriptors []v1.Descriptor, fixed map[digest.Digest]bool) ([]v1.Descriptor, error) {
	chosen := slices.Clone(descriptors)
	for i, d := range descriptors {
		c, ok, err := a.choose(d)
		if err != nil {
			return nil, err
		}
		if ok {
			fixed[c.Digest] = true
			chosen[i] = c
		}
	}
	return chosen, nil
}

// markFixed notes which manifests others speak of by digest: those that an index
// names, and subjects.
func (a *archive) markFixed(fixed map[digest.Digest]bool, descriptors []v1.Descriptor, depth int) error {
	if depth > manifest.MaxNesting {
		return manifest.ErrNesting
	}
	for _, d := range descriptors {
		if !manifest.IsManifest(d) {
			continue
		}
		m, err := a.manifest(d)
		if errors.Is(err, ocilayout.ErrMissing) {
			continue // whether that matters is seen later
		}
		if err != nil {
			return err
		}
		r, ok, err := referrerOf(m)
		if err != nil {
			return err
		}
		if ok {
			fixed[r.subject] = true
		}
		if !manifest.IsIndex(m) {
			continue
		}
		index, err := manifest.ParseIndex(m)
		if err != nil {
			return err
		}
		var below []v1.Descriptor
		for _, d := range index.Manifests {
			if !fixed[d.Digest] {
				fixed[d.Digest] = true
				below = append(below, d)
			}
		}
		if err := a.markFixed(fixed, below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) ociImage(d v1.Descriptor, fixed bool) (*image, error) {
	m, err := a.manifest(d)
	if err != nil {
		return nil, err
	}
	if manifest.IsIndex(m) {
		img := newImage(m, d.Digest)
		return img, a.addIndex(img, m, 0)
	}
	parts, err := a.parts(m)
	if err != nil {
		return nil, err
	}
	if parts.isImage && allPlain(parts.layers) && !parts.hasForeign() && !fixed && !a.published {
		return makeImage(parts.config, parts.layers)
	}
	img := newImage(m, d.Digest)
	if parts.config != nil {
		img.config = parts.config.Digest
	}
	return img, img.keep(parts)
}

// addIndex adds what an index names, as far as the archive has it: Docker saves
// only the platforms that it pulled. One of them at least must be there, and not
// only what was attested about it.
func (a *archive) addIndex(img *image, index layout.Manifest, depth int) error {
	if depth > manifest.MaxNesting {
		return manifest.ErrNesting
	}
	fields, err := manifest.ParseIndex(index)
	if err != nil {
		return err
	}
	found := len(fields.Manifests) == 0
	for _, d := range fields.Manifests {
		if img.has(d.Digest) {
			found = true
			continue
		}
		err := a.addBelow(img, d, depth)
		if errors.Is(err, ocilayout.ErrMissing) {
			a.logf("%s (%s) is left out: %v", platform.Describe(d), d.Digest, err)
			continue
		}
		if err != nil {
			return err
		}
		found = found || !platform.IsAttestation(d)
	}
	if !found {
		return a.missing(fmt.Sprintf("all that index %s names", index.Digest))
	}
	return nil
}

func (a *archive) addBelow(img *image, d v1.Descriptor, depth int) error {
	if err := a.count(1); err != nil {
		return err
	}
	if !manifest.IsManifest(d) {
		return a.addBlob(img, d)
	}
	m, err := a.manifest(d)
	if err != nil {
		return err
	}
	if manifest.IsIndex(m) {
		if err := a.addIndex(img, m, depth+1); err != nil {
			return err
		}
		img.add(m, d.Digest)
		return nil
	}
	parts, err := a.parts(m)
	if err != nil {
		return err
	}
	img.add(m, d.Digest)
	return img.keep(parts)
}

// addBlob adds what an index names and is no manifest, since it may name
// anything.
func (a *archive) addBlob(img *image, d v1.Descriptor) error {
	c, err := a.blob(d)
	if err != nil {
		return err
	}
	img.blobs[d.Digest], err = c.AsIs()
	return err
}

const (
	maxManifests = 128 << 20 // bytes of all manifests, which are kept in memory
	maxNamed     = 1 << 18   // entries of all indexes
)

// count counts what indexes name, which may be the same things many times.
func (a *archive) count(n int) error {
	if a.named += n; a.named > maxNamed {
		return fmt.Errorf("the indexes in %s name more than %d manifests", a.where, maxNamed)
	}
	return nil
}

// manifest reads a manifest or index, whose digest and size must be those of
// the descriptor.
func (a *archive) manifest(d v1.Descriptor) (layout.Manifest, error) {
	if m, ok := a.manifests[d.Digest]; ok && int64(len(m.Data)) == d.Size {
		return m, nil
	}
	c, err := a.blob(d)
	if err != nil {
		return layout.Manifest{}, err
	}
	data, err := c.Document()
	if err != nil {
		return layout.Manifest{}, err
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return layout.Manifest{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	if a.manifestBytes += len(data); a.manifestBytes > maxManifests {
		return layout.Manifest{}, fmt.Errorf("the manifests in %s have more than %d bytes", a.where, maxManifests)
	}
	a.manifests[d.Digest] = m
	return m, nil
}
