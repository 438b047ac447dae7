package converter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A rewriter gives the images of a layout aligned layers in place of compressed ones.
//
// Such an image gets another manifest. If no index names the image, its manifest is
// written anew, as for plain tars, so that the address is that of every other archive
// of the image. If an index names it, the manifest keeps all but its layers, and so
// does the index. Signatures and attestations about a manifest that changes are left
// out: they name it by a digest that nothing has any more.
type rewriter struct {
	*reader
	became  map[digest.Digest]v1.Descriptor
	changed map[digest.Digest]bool // or left out
}

// recompress returns the entries with aligned layers, if that is wanted.
func (r *reader) recompress(entries []entry) ([]entry, error) {
	if !r.ws.Recompress {
		return entries, nil
	}
	rw := &rewriter{r, map[digest.Digest]v1.Descriptor{}, map[digest.Digest]bool{}}
	// Indexes first: what one names is no image of its own, even if it has a name.
	for _, indexes := range []bool{true, false} {
		for _, e := range entries {
			n, err := r.nodes.Node(e.Descriptor)
			if err != nil {
				return nil, err
			}
			if n.IsIndex() != indexes {
				continue
			}
			if err := rw.rewrite(e.Descriptor); err != nil {
				return nil, err
			}
		}
	}
	stale, err := rw.stale(entries)
	if err != nil {
		return nil, err
	}
	var kept []entry
	for i, e := range entries {
		if stale[i] {
			continue
		}
		became := rw.became[e.Digest]
		became.Annotations = e.Annotations
		e.Descriptor = became
		kept = append(kept, e)
	}
	return kept, nil
}

// rewrite notes what becomes of a manifest or index and of those below it. A missing
// one stays missing.
func (rw *rewriter) rewrite(d v1.Descriptor) error {
	err := rw.nodes.Walk(d, func(s manifest.Step) error {
		if _, done := rw.became[s.Descriptor.Digest]; done {
			return nil
		}
		rewritten := rw.rewriteManifest
		if s.IsIndex() {
			rewritten = rw.rewriteIndex
		}
		became, err := rewritten(s)
		if err != nil && !manifest.IsMissing(err) {
			return err
		}
		if err != nil {
			became = s.Descriptor
		}
		rw.note(s.Descriptor, became)
		return nil
	})
	if manifest.IsMissing(err) {
		rw.note(d, d)
		return nil
	}
	return err
}

func (rw *rewriter) note(d, became v1.Descriptor) {
	rw.became[d.Digest] = became
	rw.changed[d.Digest] = became.Digest != d.Digest
}

// rewriteManifest returns what becomes of a manifest. An artifact stays.
func (rw *rewriter) rewriteManifest(s manifest.Step) (v1.Descriptor, error) {
	d := s.Descriptor
	p, err := rw.parts(s.Node)
	if err != nil || !p.isImage {
		return d, err
	}
	layers, err := rw.alignLayers(p)
	if err != nil || len(layers) == 0 {
		return d, err
	}
	if s.Depth == 0 && p.isOrdinary() {
		g, err := makeImage(p.config, p.diffIDs, p.layers)
		if err != nil {
			return d, err
		}
		return rw.write(g.top.MediaType, g.top.Data)
	}
	data, err := editList(s.Data, "layers", func(i int, entry object) (object, error) {
		layer, changes := layers[i]
		if !changes {
			return entry, nil
		}
		return entry, entry.describe(layer)
	})
	if err != nil {
		return d, fmt.Errorf("rewriting manifest %s: %w", s.Digest, err)
	}
	return rw.write(s.MediaType, data)
}

// alignLayers keeps the aligned forms of layers and describes those that differ from
// what the manifest has.
func (rw *rewriter) alignLayers(p *parts) (map[int]v1.Descriptor, error) {
	aligned := map[int]v1.Descriptor{}
	for i, l := range p.layers {
		before := p.Layers[i]
		if l == nil || !manifest.IsLayer(before.MediaType) || manifest.IsForeign(before.MediaType) {
			continue
		}
		b, err := l.AsLayer()
		if err != nil {
			return nil, err
		}
		if b.Digest == l.Digest {
			continue
		}
		aligned[i] = v1.Descriptor{MediaType: typeLike(before.MediaType, l.LayerType()), Digest: b.Digest, Size: b.Size()}
		rw.keepLayer(l, b)
	}
	return aligned, nil
}

func (rw *rewriter) keepLayer(l *blob.Content, aligned *blob.Blob) {
	if rw.written[aligned.Digest] == nil {
		rw.written[aligned.Digest] = l.Aligned(ocilayout.BlobPath(aligned.Digest), aligned)
	}
}

// typeLike returns one of Docker's media types of layers in the words of another
// layer's: Docker's or OCI's.
func typeLike(other, docker string) string {
	if !strings.HasPrefix(other, "application/vnd.oci.") {
		return docker
	}
	switch docker {
	case layout.DockerLayerGzip:
		return v1.MediaTypeImageLayerGzip
	case layout.DockerLayerZstd:
		return v1.MediaTypeImageLayerZstd
	}
	return v1.MediaTypeImageLayer
}

// rewriteIndex returns what becomes of an index, when that is known of all that it
// names.
func (rw *rewriter) rewriteIndex(s manifest.Step) (v1.Descriptor, error) {
	d := s.Descriptor
	entries := make([]entry, len(s.Manifests))
	same := true
	for i, below := range s.Manifests {
		if _, known := rw.became[below.Digest]; !known { // a blob, or missing
			rw.note(below, below)
		}
		same = same && !rw.changed[below.Digest]
		entries[i] = entry{Descriptor: below, signs: signedBy(below)}
	}
	if same {
		return d, nil
	}
	stale, err := rw.stale(entries)
	if err != nil {
		return d, err
	}
	data, err := editList(s.Data, "manifests", func(i int, entry object) (object, error) {
		before := s.Manifests[i].Digest
		switch became := rw.became[before]; {
		case stale[i]:
			return nil, nil
		case became.Digest != before:
			return entry, entry.describe(became)
		}
		return entry, nil
	})
	if err != nil {
		return d, fmt.Errorf("rewriting index %s: %w", s.Digest, err)
	}
	return rw.write(s.MediaType, data)
}

// stale finds the entries whose manifests are about one that changed, or about one
// that is left out for that reason, and reports them.
func (rw *rewriter) stale(entries []entry) (map[int]bool, error) {
	about := map[digest.Digest][]int{}
	for i, e := range entries {
		subjects, err := rw.subjects(e)
		if err != nil {
			return nil, err
		}
		for _, s := range subjects {
			about[s] = append(about[s], i)
		}
	}
	var todo []digest.Digest
	for subject := range about {
		if rw.changed[subject] {
			todo = append(todo, subject)
		}
	}
	slices.Sort(todo)
	stale := map[int]bool{}
	for len(todo) > 0 {
		subject := todo[0]
		todo = todo[1:]
		for _, i := range about[subject] {
			if d := entries[i].Digest; !stale[i] {
				stale[i] = true
				rw.changed[d] = true
				todo = append(todo, d)
				rw.logf("%s is left out: it is about %s, which recompressing changes", d, subject)
			}
		}
	}
	return stale, nil
}

// dockerReference is the annotation by which buildx says what an attestation in an
// index is about.
const dockerReference = "vnd.docker.reference.digest"

// subjects returns the digests of the manifests that an entry is about.
func (rw *rewriter) subjects(e entry) ([]digest.Digest, error) {
	var subjects []digest.Digest
	if s := e.Annotations[dockerReference]; s != "" {
		subjects = append(subjects, digest.Digest(s))
	}
	if e.signs != "" {
		subjects = append(subjects, e.signs)
	}
	if signs := signedBy(e.Descriptor); signs != "" && signs != e.signs {
		subjects = append(subjects, signs)
	}
	if !manifest.IsManifest(e.Descriptor) {
		return subjects, nil
	}
	n, err := rw.nodes.Node(e.Descriptor)
	if manifest.IsMissing(err) {
		return subjects, nil
	}
	if err != nil {
		return nil, err
	}
	if n.Subject != nil {
		subjects = append(subjects, n.Subject.Digest)
	}
	return subjects, nil
}
