package converter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// parts is what a manifest leads to.
type parts struct {
	config  *blob.Content   // none in artifacts of a certain age
	layers  []*blob.Content // nil where one may be missing
	isImage bool            // not an artifact or attestation, whose layers are anything

	// What the manifest says of the config and of each layer.
	configDescriptor v1.Descriptor
	descriptors      []v1.Descriptor
}

func (a *archive) parts(m layout.Manifest) (*parts, error) {
	fields, err := manifest.Parse(m)
	if err != nil {
		return nil, err
	}
	p := &parts{
		descriptors: fields.Layers,
	}
	if fields.Config != nil {
		p.isImage = manifest.IsConfig(fields.Config.MediaType)
		p.configDescriptor = *fields.Config
		if p.config, err = a.blob(*fields.Config); err != nil {
			return nil, fmt.Errorf("config of manifest %s: %w", m.Digest, err)
		}
	}
	if err := a.addLayers(p, m); err != nil {
		return nil, err
	}
	if !p.isImage {
		return p, nil
	}
	return p, checkDiffIDs(p.config, p.layers)
}

// addLayers finds a manifest's layers. All may be missing, which tells that the
// image was not saved, or one that nobody may hand on.
func (a *archive) addLayers(p *parts, m layout.Manifest) error {
	a.fetchAll(p.descriptors)
	var missing error
	found := 0
	for _, d := range p.descriptors {
		p.isImage = p.isImage && manifest.IsLayer(d.MediaType)
		l, err := a.blob(d)
		switch {
		case errors.Is(err, ocilayout.ErrMissing) && manifest.IsForeign(d.MediaType):
			a.logf("layer %s is left out: it is not for everybody to distribute, and %v", d.Digest, err)
		case errors.Is(err, ocilayout.ErrMissing):
			missing = cmp.Or(missing, err)
		case err != nil:
			return fmt.Errorf("layer of manifest %s: %w", m.Digest, err)
		default:
			found++
		}
		p.layers = append(p.layers, l)
	}
	switch {
	case missing == nil:
		return nil
	case found == 0: // it was not saved, which may be meant
		return fmt.Errorf("layers of manifest %s: %w", m.Digest, missing)
	}
	//nolint:errorlint // what is missing in part may not be left out, so this is not ErrMissing
	return fmt.Errorf("layer of manifest %s: %v", m.Digest, missing)
}

// keep adds a manifest's config and layers to the image, as they came.
func (g *graph) keep(p *parts) error {
	for i, c := range append([]*blob.Content{p.config}, p.layers...) {
		if c == nil {
			continue
		}
		name := p.configDescriptor.Digest
		if i > 0 {
			name = p.descriptors[i-1].Digest
		}
		var err error
		if g.blobs[name], err = c.AsIs(); err != nil {
			return err
		}
	}
	return nil
}

// hasForeign reports whether one of the layers is not for everybody to distribute.
func (p *parts) hasForeign() bool {
	return slices.ContainsFunc(p.descriptors, func(d v1.Descriptor) bool { return manifest.IsForeign(d.MediaType) })
}
