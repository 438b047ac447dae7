package converter

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// load reads a manifest or index and all that it leads to.
//
// Docker 25 and later write an index beside their list. The manifests of Docker's
// classic store are made up for the archive and name plain tars: they are written
// anew, as those of older archives are, and the address is the same. A manifest that
// names compressed layers, or that another one names, was known elsewhere by its
// digest and keeps its bytes.
func (r *reader) load(d v1.Descriptor) (*graph, error) {
	g := newGraph()
	err := r.nodes.Walk(d, func(s manifest.Step) error {
		if s.IsIndex() {
			return r.addIndex(g, s)
		}
		p, err := r.parts(s.Node)
		if err != nil {
			return err
		}
		if s.Depth == 0 && p.isPlain() && !r.fixed[d.Digest] && !r.Published {
			made, err := makeImage(p.config, p.diffIDs, p.layers)
			if err == nil {
				*g = *made
			}
			return err
		}
		r.notePeculiar(p)
		g.add(s.Node, s.Descriptor.Digest)
		return g.keep(p)
	})
	return g, err
}

// notePeculiar reports layers that not every client unpacks. Their bytes are kept: the
// digests of the manifest hold, and some clients do unpack them.
func (r *reader) notePeculiar(p *parts) {
	for _, l := range p.layers {
		if p.isImage && l != nil && !l.Unpackable() {
			r.logf("layer %s is compressed by %s, which Docker and containerd do not unpack: recompressing makes it gzip", l.Digest, l.Encoding())
		}
	}
}

// addIndex adds an index, and the blobs that it names, as far as the source has them:
// Docker saves only the platforms that it pulled. At least one must be there, and not
// only an attestation about it.
func (r *reader) addIndex(g *graph, s manifest.Step) error {
	found := len(s.Below) == 0
	for _, b := range s.Below {
		missing := b.Missing
		if !manifest.IsManifest(b.Descriptor) {
			c, err := r.blob(b.Descriptor)
			if err != nil && !manifest.IsMissing(err) {
				return err
			}
			if missing = err; err == nil {
				if g.blobs[b.Digest], err = c.AsIs(); err != nil {
					return err
				}
			}
		}
		if missing != nil {
			r.logf("%s (%s) is left out: %v", platform.Describe(b.Descriptor), b.Digest, missing)
			continue
		}
		found = found || !platform.IsAttestation(b.Descriptor)
	}
	if !found {
		return &manifest.MissingError{What: fmt.Sprintf("all that index %s names", s.Digest), Where: r.Where}
	}
	g.add(s.Node, s.Descriptor.Digest)
	return nil
}

// parts is what a manifest leads to.
type parts struct {
	*manifest.Node
	config  *blob.Content   // none in artifact manifests
	diffIDs []digest.Digest // of an image
	layers  []*blob.Content // nil where a non-distributable one is missing
	isImage bool
}

// parts reads the config and the layers of a manifest. Layers of images are checked
// against the config.
func (r *reader) parts(n *manifest.Node) (*parts, error) {
	p := &parts{Node: n}
	config, err := r.config(n)
	if err != nil {
		return nil, err
	}
	if n.Config != nil {
		if p.config, err = r.blob(*n.Config); err != nil {
			return nil, fmt.Errorf("config of manifest %s: %w", n.Digest, err)
		}
	}
	if err := r.addLayers(p); err != nil {
		return nil, err
	}
	if config == nil {
		return p, nil
	}
	p.isImage, p.diffIDs = true, config.DiffIDs
	return p, p.check()
}

// addLayers finds the layers of a manifest. If all are missing, the image was not
// saved, which may be meant. A non-distributable layer may be missing alone.
func (r *reader) addLayers(p *parts) error {
	if err := r.Prefetch(p.Layers); err != nil {
		return fmt.Errorf("layers of manifest %s: %w", p.Digest, err)
	}
	var missing error
	found := 0
	for _, d := range p.Layers {
		l, err := r.blob(d)
		switch {
		case manifest.IsMissing(err) && manifest.IsForeign(d.MediaType):
			r.logf("layer %s is left out: it is non-distributable, and %v", d.Digest, err)
		case manifest.IsMissing(err):
			missing = cmp.Or(missing, err)
		case err != nil:
			return fmt.Errorf("layer of manifest %s: %w", p.Digest, err)
		default:
			found++
		}
		p.layers = append(p.layers, l)
	}
	switch {
	case missing == nil:
		return nil
	case found == 0:
		return fmt.Errorf("layers of manifest %s: %w", p.Digest, missing)
	}
	//nolint:errorlint // an image that is missing in part cannot be left out, so this is not a MissingError
	return fmt.Errorf("layer of manifest %s: %v", p.Digest, missing)
}

// check compares the layers of an image with its config. Nothing is known of missing
// layers and of those whose media type is not that of a layer.
func (p *parts) check() error {
	checked := slices.Clone(p.layers)
	for i := range checked {
		if !p.Checked(i) {
			checked[i] = nil
		}
	}
	return checkDiffIDs(p.config.Name, p.diffIDs, checked)
}

// isPlain reports whether the manifest is that of an ordinary image, all of whose
// layers came uncompressed.
func (p *parts) isPlain() bool {
	return p.isOrdinary() && !slices.ContainsFunc(p.layers, func(l *blob.Content) bool { return l == nil || l.CameCompressed() })
}

// isOrdinary reports whether the manifest is that of an image whose config and layers
// have the usual media types, so that it can be written anew as Docker's.
func (p *parts) isOrdinary() bool {
	return p.isImage && manifest.IsConfig(p.Config.MediaType) &&
		!slices.ContainsFunc(p.Layers, func(d v1.Descriptor) bool { return !manifest.IsLayer(d.MediaType) || manifest.IsForeign(d.MediaType) })
}

// keep adds the config and the layers of a manifest, as they came.
func (g *graph) keep(p *parts) error {
	var err error
	if p.config != nil {
		if g.blobs[p.Config.Digest], err = p.config.AsIs(); err != nil {
			return err
		}
	}
	for i, l := range p.layers {
		if l == nil {
			continue
		}
		name := p.Layers[i].Digest
		if g.blobs[name], err = l.AsIs(); err != nil {
			return err
		}
		if p.isImage && l.CameCompressed() {
			g.compressed[name] = true
		}
	}
	return nil
}
