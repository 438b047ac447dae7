package converter

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

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
	var index v1.Index
	if err := json.Unmarshal(a.documents[ociIndex], &index); err != nil {
		return nil, fmt.Errorf("reading %s: %w", ociIndex, err)
	}
	repoTags, err := a.repoTags()
	if err != nil {
		return nil, err
	}
	fixed := map[digest.Digest]bool{}
	if err := a.markFixed(fixed, index.Manifests, 0); err != nil {
		return nil, err
	}
	var images []*image
	for _, d := range index.Manifests {
		img, err := a.ociImage(d, fixed[d.Digest])
		if err != nil {
			return nil, err
		}
		references, err := ociReferences(d, repoTags[img.config()])
		if err != nil {
			return nil, err
		}
		images = append(images, img.named(references)...)
	}
	return images, nil
}

// maxNesting is how many indexes may name one another. Two are in use.
const maxNesting = 8

// markFixed notes which manifests others speak of by digest: those that an index
// names, and subjects.
func (a *archive) markFixed(fixed map[digest.Digest]bool, descriptors []v1.Descriptor, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("more than %d indexes name one another", maxNesting)
	}
	for _, d := range descriptors {
		m, err := a.manifest(d)
		if errors.Is(err, errMissing) {
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
		if !isIndex(m) {
			continue
		}
		var index v1.Index
		if err := json.Unmarshal(m.Data, &index); err != nil {
			return fmt.Errorf("reading index %s: %w", m.Digest, err)
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
	if isIndex(m) {
		img := &image{top: m}
		return img, a.addIndex(img, m)
	}
	parts, err := a.parts(m)
	if err != nil {
		return nil, err
	}
	if parts.isImage && allPlain(parts.layers) && !fixed {
		return makeImage(parts.config, parts.layers)
	}
	img := &image{top: m}
	return img, img.keep(parts)
}

// addIndex adds what an index names, as far as the archive has it: Docker saves
// only the platforms that it pulled. One of them at least must be there, and not
// only what was attested about it.
func (a *archive) addIndex(img *image, index layout.Manifest) error {
	var fields v1.Index
	if err := json.Unmarshal(index.Data, &fields); err != nil {
		return fmt.Errorf("reading index %s: %w", index.Digest, err)
	}
	found := 0
	for _, d := range fields.Manifests {
		if img.has(d.Digest) {
			found++
			continue
		}
		err := a.addBelow(img, d)
		if errors.Is(err, errMissing) {
			a.logf("%s (%s) is left out: %v", platform(d), d.Digest, err)
			continue
		}
		if err != nil {
			return err
		}
		if !isAttestation(d) {
			found++
		}
	}
	if found == 0 {
		return fmt.Errorf("all that index %s names %w", index.Digest, errMissing)
	}
	return nil
}

func (a *archive) addBelow(img *image, d v1.Descriptor) error {
	m, err := a.manifest(d)
	if err != nil {
		return err
	}
	if isIndex(m) {
		if err := a.addIndex(img, m); err != nil {
			return err
		}
		img.below = append(img.below, m)
		return nil
	}
	parts, err := a.parts(m)
	if err != nil {
		return err
	}
	img.below = append(img.below, m)
	return img.keep(parts)
}

// manifest reads a manifest or index, whose digest and size must be those of
// the descriptor.
func (a *archive) manifest(d v1.Descriptor) (layout.Manifest, error) {
	c, err := a.blob(d)
	if err != nil {
		return layout.Manifest{}, err
	}
	data, err := c.document()
	if err != nil {
		return layout.Manifest{}, err
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return layout.Manifest{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return m, nil
}

// blob returns the content that a descriptor speaks of, having checked it.
func (a *archive) blob(d v1.Descriptor) (*content, error) {
	if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
		return nil, err
	}
	if d.Digest.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("digest %s: only sha256 is supported", d.Digest)
	}
	c, err := a.find(path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded()))
	if err != nil {
		return nil, err
	}
	if c.digest != d.Digest {
		return nil, fmt.Errorf("%s has the digest %s", c.name, c.digest)
	}
	if c.size != d.Size {
		return nil, fmt.Errorf("%s has %d bytes, and its descriptor says %d", c.name, c.size, d.Size)
	}
	return c, nil
}

// parts is what a manifest leads to.
type parts struct {
	config  *content
	layers  []*content
	isImage bool // not an artifact or attestation, whose layers are anything
}

func (a *archive) parts(m layout.Manifest) (*parts, error) {
	var fields v1.Manifest
	if err := json.Unmarshal(m.Data, &fields); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", m.Digest, err)
	}
	config, err := a.blob(fields.Config)
	if err != nil {
		return nil, fmt.Errorf("config of manifest %s: %w", m.Digest, err)
	}
	p := &parts{config: config, isImage: isConfig(fields.Config.MediaType)}
	var missing error
	for _, d := range fields.Layers {
		p.isImage = p.isImage && isLayer(d.MediaType)
		l, err := a.blob(d)
		if errors.Is(err, errMissing) {
			missing = cmp.Or(missing, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("layer of manifest %s: %w", m.Digest, err)
		}
		p.layers = append(p.layers, l)
	}
	switch {
	case missing == nil:
	case len(p.layers) == 0: // it was not saved, which may be meant
		return nil, fmt.Errorf("layers of manifest %s: %w", m.Digest, missing)
	default:
		//nolint:errorlint // what is missing in part may not be left out, so this is not errMissing
		return nil, fmt.Errorf("layer of manifest %s: %v", m.Digest, missing)
	}
	if !p.isImage {
		return p, nil
	}
	return p, checkDiffIDs(config, p.layers)
}

// keep adds a manifest's config and layers to the image, as they came.
func (img *image) keep(p *parts) error {
	for _, c := range append([]*content{p.config}, p.layers...) {
		b, err := c.asIs()
		if err != nil {
			return err
		}
		img.blobs = append(img.blobs, b)
	}
	return nil
}

// config returns the digest of the image's config, where it is one manifest.
func (img *image) config() digest.Digest {
	if len(img.blobs) == 0 || len(img.below) > 0 {
		return ""
	}
	return img.blobs[0].Digest
}

func isIndex(m layout.Manifest) bool {
	return m.MediaType == v1.MediaTypeImageIndex || m.MediaType == layout.DockerManifestList
}

func isConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == layout.DockerConfig
}

// isAttestation reports whether an index's entry is about another one, as those
// of buildx are, which no platform would choose.
func isAttestation(d v1.Descriptor) bool {
	return d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

func isLayer(mediaType string) bool {
	switch mediaType {
	case v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd,
		layout.DockerLayer, layout.DockerLayerGzip, layout.DockerLayerZstd:
		return true
	}
	return false
}

func platform(d v1.Descriptor) string {
	if d.Platform == nil {
		return "a manifest"
	}
	name := d.Platform.OS + "/" + d.Platform.Architecture
	if d.Platform.Variant != "" {
		name += "/" + d.Platform.Variant
	}
	return "the image for " + name
}
