package converter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A rewriter gives the images of a layout aligned layers, where they have others.
//
// An image's manifest then is another one. That of an image that no index names
// is written anew, as one of plain tars is, so that the address is that of every
// other archive of the image. One that an index names goes on to say all that it
// said but of its layers, and so does the index. What somebody said about a
// manifest by its digest would be about nothing now, so signatures and
// attestations are left out.
type rewriter struct {
	*archive
	became  map[digest.Digest]v1.Descriptor
	changed map[digest.Digest]bool // or left out
}

// rewriteAll returns what becomes of a layout's manifests.
func (a *archive) rewriteAll(descriptors []v1.Descriptor) ([]v1.Descriptor, error) {
	rw := &rewriter{a, map[digest.Digest]v1.Descriptor{}, map[digest.Digest]bool{}}
	// Indexes first: what one names is no image of its own, even if it has a name.
	for _, indexes := range []bool{true, false} {
		for _, d := range descriptors {
			m, err := a.manifest(d)
			if err != nil {
				return nil, err
			}
			if manifest.IsIndex(m) != indexes {
				continue
			}
			if _, err := rw.rewrite(d, 0); err != nil {
				return nil, err
			}
		}
	}
	stale, err := rw.stale(descriptors)
	if err != nil {
		return nil, err
	}
	var kept []v1.Descriptor
	for i, d := range descriptors {
		if stale[i] {
			continue
		}
		became := rw.became[d.Digest]
		became.Annotations = d.Annotations
		kept = append(kept, became)
	}
	return kept, nil
}

// rewrite returns what becomes of a manifest or index. What is missing stays so.
func (rw *rewriter) rewrite(d v1.Descriptor, depth int) (v1.Descriptor, error) {
	if depth > manifest.MaxNesting {
		return d, manifest.ErrNesting
	}
	if became, ok := rw.became[d.Digest]; ok {
		return became, nil
	}
	became, err := rw.rewritten(d, depth)
	if errors.Is(err, ocilayout.ErrMissing) {
		became, err = d, nil
	}
	if err != nil {
		return d, err
	}
	rw.became[d.Digest] = became
	rw.changed[d.Digest] = became.Digest != d.Digest
	return became, nil
}

func (rw *rewriter) rewritten(d v1.Descriptor, depth int) (v1.Descriptor, error) {
	if !manifest.IsManifest(d) {
		return d, nil
	}
	m, err := rw.manifest(d)
	if err != nil {
		return d, err
	}
	if manifest.IsIndex(m) {
		return rw.rewriteIndex(d, m, depth)
	}
	p, err := rw.parts(m)
	if err != nil || !p.isImage {
		return d, err
	}
	layers, err := rw.align(p)
	if err != nil || len(layers) == 0 {
		return d, err
	}
	if depth == 0 && !p.hasForeign() {
		img, err := makeImage(p.config, p.layers)
		if err != nil {
			return d, err
		}
		return rw.add(img.top.MediaType, img.top.Data)
	}
	data, err := editList(m.Data, "layers", func(i int, entry object) (object, error) {
		layer, changes := layers[i]
		if !changes {
			return entry, nil
		}
		return entry, entry.describe(layer)
	})
	if err != nil {
		return d, fmt.Errorf("rewriting manifest %s: %w", m.Digest, err)
	}
	return rw.add(m.MediaType, data)
}

// align adds the layers' aligned forms to the contents and describes those that
// differ from what the manifest has.
func (rw *rewriter) align(p *parts) (map[int]v1.Descriptor, error) {
	aligned := map[int]v1.Descriptor{}
	for i, l := range p.layers {
		before := p.descriptors[i]
		if l == nil || manifest.IsForeign(before.MediaType) {
			continue
		}
		blob, err := l.AsLayer()
		if err != nil {
			return nil, err
		}
		if blob.Digest == l.Digest {
			continue
		}
		d := v1.Descriptor{MediaType: typeLike(before.MediaType, l.LayerType()), Digest: blob.Digest, Size: blob.Size()}
		aligned[i] = d
		name := ocilayout.BlobPath(d.Digest)
		if rw.contents[name] == nil {
			rw.contents[name] = l.Alone(name, blob)
		}
	}
	return aligned, nil
}

// typeLike returns the media type that is Docker's given one, as whoever wrote
// the other would spell it.
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

func (rw *rewriter) add(mediaType string, data []byte) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	_, err := rw.put(d, data)
	return d, err
}

func (rw *rewriter) rewriteIndex(d v1.Descriptor, m layout.Manifest, depth int) (v1.Descriptor, error) {
	index, err := manifest.ParseIndex(m)
	if err != nil {
		return d, err
	}
	if err := rw.count(len(index.Manifests)); err != nil {
		return d, err
	}
	same := true
	for _, below := range index.Manifests {
		became, err := rw.rewrite(below, depth+1)
		if err != nil {
			return d, err
		}
		same = same && became.Digest == below.Digest
	}
	if same {
		return d, nil
	}
	stale, err := rw.stale(index.Manifests)
	if err != nil {
		return d, err
	}
	data, err := editList(m.Data, "manifests", func(i int, entry object) (object, error) {
		before := index.Manifests[i].Digest
		switch became := rw.became[before]; {
		case stale[i]:
			return nil, nil
		case became.Digest != before:
			return entry, entry.describe(became)
		}
		return entry, nil
	})
	if err != nil {
		return d, fmt.Errorf("rewriting index %s: %w", m.Digest, err)
	}
	return rw.add(m.MediaType, data)
}

// stale finds those of the descriptors whose manifests are about one that
// changed, or about such a one, and says so.
func (rw *rewriter) stale(descriptors []v1.Descriptor) (map[int]bool, error) {
	about := map[digest.Digest][]int{}
	for i, d := range descriptors {
		subjects, err := rw.subjects(d)
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
			if d := descriptors[i].Digest; !stale[i] {
				stale[i] = true
				rw.changed[d] = true
				todo = append(todo, d)
				rw.logf("%s is left out: it is about %s, which --recompress changes", d, subject)
			}
		}
	}
	return stale, nil
}

// dockerReference is the annotation by which buildx says what an attestation in
// an index is about.
const dockerReference = "vnd.docker.reference.digest"

// signatureTag is a tag by which cosign says what a signature is about.
var signatureTag = regexp.MustCompile(`(?:^|:)sha256-([0-9a-f]{64})(?:\.[a-z]+)?$`)

// subjects returns the digests of the manifests that one is about.
func (rw *rewriter) subjects(d v1.Descriptor) ([]digest.Digest, error) {
	var subjects []digest.Digest
	if s := d.Annotations[dockerReference]; s != "" {
		subjects = append(subjects, digest.Digest(s))
	}
	for _, name := range names(d) {
		if m := signatureTag.FindStringSubmatch(name); m != nil {
			subjects = append(subjects, digest.NewDigestFromEncoded(digest.SHA256, m[1]))
		}
	}
	if !manifest.IsManifest(d) {
		return subjects, nil
	}
	m, err := rw.manifest(d)
	if errors.Is(err, ocilayout.ErrMissing) {
		return subjects, nil
	}
	if err != nil {
		return nil, err
	}
	r, ok, err := referrerOf(m)
	if ok {
		subjects = append(subjects, r.subject)
	}
	return subjects, err
}
