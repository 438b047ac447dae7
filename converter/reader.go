package converter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
)

// A reader makes images of what a source holds.
type reader struct {
	*source.Layout
	ws    *blob.Workspace
	want  want
	logf  func(string, ...any)
	graph *manifest.Graph

	// written are the manifests and layers that took the place of others.
	written map[digest.Digest]*blob.Content

	// fixed are the manifests that others name by digest: those that an index names,
	// and subjects. They keep their bytes.
	fixed map[digest.Digest]bool

	configs map[digest.Digest]*manifest.Config // nil for those of artifacts
}

func newReader(l *source.Layout, ws *blob.Workspace, w want, logf func(string, ...any)) *reader {
	r := &reader{
		Layout: l, ws: ws, want: w, logf: logf,
		written: map[digest.Digest]*blob.Content{},
		fixed:   map[digest.Digest]bool{},
		configs: map[digest.Digest]*manifest.Config{},
	}
	r.graph = manifest.NewGraph(func(d v1.Descriptor) ([]byte, error) {
		c, err := r.blob(d)
		if err != nil {
			return nil, err
		}
		return c.Document()
	})
	return r
}

// images returns the wanted images of the source, read and checked as a whole.
//
// An index names manifests, bytes and all, and Docker's list only the configs and
// layers to make them of, so the index is preferred. Both name the same images where
// one program wrote both. Where the index does not fit its own archive, the list
// counts, as it does for Docker.
func (r *reader) images() ([]*image, error) {
	if r.Index == nil {
		return r.listedImages()
	}
	images, err := r.indexedImages()
	if err == nil || len(r.DockerList) == 0 || !isMisfit(err) {
		return images, err
	}
	listed, other := r.listedImages()
	if other != nil {
		return nil, err
	}
	r.logf("%s does not fit %s, so %s is used: %v", ocilayout.Index, r.Where, ocilayout.DockerList, err)
	return listed, nil
}

// isMisfit reports whether an error may be the fault of the index.
func isMisfit(err error) bool {
	var (
		name    *NameError
		none    *NoImageError
		several *SeveralImagesError
		wrong   *platform.Error
		file    *fs.PathError
	)
	return !errors.As(err, &name) && !errors.As(err, &none) && !errors.As(err, &several) && !errors.As(err, &wrong) &&
		!errors.As(err, &file) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// indexedImages returns the images that the index of the source names.
func (r *reader) indexedImages() ([]*image, error) {
	entries, err := r.entries()
	if err != nil {
		return nil, err
	}
	for _, step := range []func([]entry) ([]entry, error){
		r.choosePlatform, r.resolveNames, r.mergePlatforms, r.addReferrers, r.noteFixed, r.recompress,
	} {
		if entries, err = step(entries); err != nil {
			return nil, err
		}
	}
	var images []*image
	made := map[digest.Digest]*graph{}
	for _, e := range entries {
		g := made[e.Digest]
		if g == nil {
			if g, err = r.load(e.Descriptor); err != nil {
				return nil, err
			}
			made[e.Digest] = g
		}
		for _, called := range e.refs {
			images = append(images, &image{ref: called, graph: g, wanted: e.wanted, noName: len(e.names) == 0, signs: e.signs})
		}
	}
	return r.finish(images)
}

// finish attaches referrers and checks that each name means one image.
func (r *reader) finish(images []*image) ([]*image, error) {
	if len(images) == 0 {
		return nil, fmt.Errorf("%s holds no image", r.Where)
	}
	images, err := r.attachReferrers(images)
	if err != nil {
		return nil, err
	}
	if r.want.as != (ref{}) {
		return r.one(images)
	}
	return distinct(images)
}

// addReferrers adds the referrers that the source lists elsewhere.
func (r *reader) addReferrers(entries []entry) ([]entry, error) {
	for _, e := range slices.Clone(entries) {
		referrers, err := r.Referrers(e.Digest, r.logf)
		if err != nil {
			return nil, err
		}
		for _, d := range referrers {
			entries = append(entries, entry{Descriptor: d, refs: []ref{{}}})
		}
	}
	return entries, nil
}

// noteFixed notes which manifests others name by digest.
func (r *reader) noteFixed(entries []entry) ([]entry, error) {
	for _, e := range entries {
		err := r.graph.Walk(e.Descriptor, func(s manifest.Step) error {
			if s.Subject != nil {
				r.fixed[s.Subject.Digest] = true
			}
			for _, b := range s.Below {
				r.fixed[b.Digest] = true
			}
			return nil
		})
		if err != nil && !manifest.IsMissing(err) { // whether that matters is seen later
			return nil, err
		}
	}
	return entries, nil
}

// load reads a manifest or index and all that it leads to.
//
// Docker 25 and later write an index beside their list. The manifests of Docker's
// classic store are made up for the archive and name plain tars: they are written
// anew, as those of older archives are, and the address is the same. A manifest that
// names compressed layers, or that another one names, was known elsewhere by its
// digest and keeps its bytes.
func (r *reader) load(d v1.Descriptor) (*graph, error) {
	g := newGraph()
	err := r.graph.Walk(d, func(s manifest.Step) error {
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
			r.logf("layer %s is compressed by %s, which Docker and containerd do not unpack: --recompress makes it gzip", l.Digest, l.Encoding())
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

// config returns what the config of an image says. It returns nil for an artifact.
func (r *reader) config(n *manifest.Node) (*manifest.Config, error) {
	if n.Config == nil {
		return nil, nil
	}
	if c, known := r.configs[n.Digest]; known {
		return c, nil
	}
	content, err := r.blob(*n.Config)
	if err != nil {
		return nil, fmt.Errorf("config of manifest %s: %w", n.Digest, err)
	}
	var c *manifest.Config
	if content.Size <= blob.MaxConfig || manifest.IsConfig(n.Config.MediaType) {
		data, err := content.Config()
		if err != nil {
			return nil, err
		}
		if c, err = n.ParseConfig(data); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", n.Digest, err)
		}
	}
	r.configs[n.Digest] = c
	return c, nil
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

// blob returns the content of a descriptor: what was written for it, or what the
// source has.
func (r *reader) blob(d v1.Descriptor) (*blob.Content, error) {
	if c := r.written[d.Digest]; c != nil {
		return c, nil
	}
	return r.Blob(d)
}

// write adds a manifest or index.
func (r *reader) write(mediaType string, data []byte) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	c, err := r.ws.Read(ocilayout.BlobPath(d.Digest), d.Size, bytes.NewReader(data))
	r.written[d.Digest] = c
	return d, err
}
