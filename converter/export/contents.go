package export

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// add takes in an image and all that it leads to, as far as the root has it.
func (e *exporter) add(img origin.Image) error {
	dir, err := e.dir(img.Name)
	if err != nil {
		return err
	}
	top := v1.Descriptor{MediaType: img.MediaType, Digest: img.Digest, Size: int64(len(img.Data))}
	m := img.Manifest
	if e.Platform != nil {
		if top, m, err = e.choose(dir, top, m); err != nil {
			return err
		}
	}
	images, err := e.addManifest(dir, m, 0)
	if err != nil {
		return err
	}
	name, err := exportedName(img)
	if err != nil {
		return err
	}
	top.Annotations = name.annotations()
	e.index.Manifests = append(e.index.Manifests, top)
	e.listed[top.Digest] = true
	e.addToList(img, images, name)
	return nil
}

// addManifest takes in a manifest or index, and returns the images that Docker's
// list could name for it.
func (e *exporter) addManifest(dir *imageDir, m layout.Manifest, depth int) ([]dockerImage, error) {
	if images, known := e.platforms[m.Digest]; known {
		return images, nil
	}
	if depth > manifest.MaxNesting {
		return nil, manifest.ErrNesting
	}
	if err := e.addDocument(m.Digest, m.Data); err != nil {
		return nil, err
	}
	add := e.addParts
	if manifest.IsIndex(m) {
		add = e.addIndex
	}
	images, err := add(dir, m, depth)
	if err != nil {
		return nil, err
	}
	e.platforms[m.Digest] = images
	return images, e.addReferrers(dir, m.Digest, depth)
}

// addIndex takes in what an index names. Of that an image has what its archive
// had.
func (e *exporter) addIndex(dir *imageDir, index layout.Manifest, depth int) ([]dockerImage, error) {
	fields, err := manifest.ParseIndex(index)
	if err != nil {
		return nil, err
	}
	var images []dockerImage
	seen := map[digest.Digest]bool{}
	found := len(fields.Manifests) == 0
	for _, d := range fields.Manifests {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		below, there, err := e.addBelow(dir, d, depth)
		if err != nil {
			return nil, err
		}
		if !there {
			e.Logf("%s (%s) is left out: it is not in %s", platform.Describe(d), d.Digest, e)
		}
		found = found || there && !platform.IsAttestation(d)
		images = append(images, below...)
	}
	if !found && depth == 0 {
		return nil, fmt.Errorf("nothing that index %s names is in %s", index.Digest, e)
	}
	return images, nil
}

func (e *exporter) addBelow(dir *imageDir, d v1.Descriptor, depth int) (images []dockerImage, there bool, err error) {
	if !manifest.IsManifest(d) {
		there, err := e.addBlob(dir, d)
		return nil, there, err
	}
	m, there, err := e.manifest(dir, d)
	if !there || err != nil {
		return nil, there, err
	}
	images, err = e.addManifest(dir, m, depth+1)
	if p, ok := platform.Of(d); ok && len(images) == 1 {
		images = []dockerImage{{p, images[0].DockerEntry}}
	}
	return images, true, err
}

// addParts takes in what a manifest that is no index names: all of it has to be
// there, but for layers that are not for everybody to distribute.
func (e *exporter) addParts(dir *imageDir, m layout.Manifest, _ int) ([]dockerImage, error) {
	fields, err := manifest.Parse(m)
	if err != nil {
		return nil, err
	}
	isImage := fields.Config != nil && manifest.IsConfig(fields.Config.MediaType)
	blobs := fields.Layers
	img := dockerImage{DockerEntry: ocilayout.DockerEntry{Layers: []string{}}}
	switch {
	case m.MediaType == layout.OCIArtifact:
	case isImage:
		if img.Platform, err = e.addConfig(dir, *fields.Config); err != nil {
			return nil, fmt.Errorf("config of manifest %s: %w", m.Digest, err)
		}
		img.Config = ocilayout.BlobPath(fields.Config.Digest)
	default:
		blobs = fields.Blobs()
	}
	for _, d := range blobs {
		isImage = isImage && manifest.IsLayer(d.MediaType)
		there, err := e.addBlob(dir, d)
		switch {
		case err != nil:
			return nil, err
		case !there && manifest.IsForeign(d.MediaType):
			e.Logf("layer %s is left out: it is not for everybody to distribute, and not in %s", d.Digest, e)
		case !there:
			return nil, fmt.Errorf("blob %s of manifest %s is not in %s", d.Digest, m.Digest, e)
		}
		img.Layers = append(img.Layers, ocilayout.BlobPath(d.Digest))
	}
	if !isImage {
		return nil, nil
	}
	return []dockerImage{img}, nil
}

// addReferrers takes in what is about a manifest. In an OCI layout that is named
// beside it.
func (e *exporter) addReferrers(dir *imageDir, subject digest.Digest, depth int) error {
	node, there := dir.referrers[subject.String()]
	if !there {
		return nil
	}
	data, err := e.from.Read(e.ctx, node.CID, layout.MaxManifest)
	if err != nil {
		return fmt.Errorf("referrers of %s: %w", subject, err)
	}
	var index v1.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("referrers of %s: %w", subject, err)
	}
	for _, d := range index.Manifests {
		m, there, err := e.manifest(dir, d)
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("referrer %s of %s is not in %s", d.Digest, subject, e)
		}
		if _, err := e.addManifest(dir, m, depth+1); err != nil {
			return err
		}
		if !e.listed[d.Digest] {
			e.listed[d.Digest] = true
			e.index.Manifests = append(e.index.Manifests, v1.Descriptor{MediaType: m.MediaType, Digest: d.Digest, Size: d.Size})
		}
	}
	return nil
}

// manifest reads a manifest or index, if the root has it.
func (e *exporter) manifest(dir *imageDir, d v1.Descriptor) (m layout.Manifest, there bool, err error) {
	node, there := dir.manifests[d.Digest.String()]
	if !there {
		return layout.Manifest{}, false, nil
	}
	data, err := e.read(node.CID, d)
	if err != nil {
		return layout.Manifest{}, true, fmt.Errorf("manifest %w", err)
	}
	if m, err = layout.ParseManifest(data); err != nil {
		return layout.Manifest{}, true, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	m.Digest = d.Digest
	return m, true, nil
}

// addConfig takes in an image's config, and returns what platform it is for.
func (e *exporter) addConfig(dir *imageDir, d v1.Descriptor) (platform.Platform, error) {
	data, err := e.config(dir, d)
	if err != nil {
		return platform.Platform{}, err
	}
	var p v1.Platform
	if err := json.Unmarshal(data, &p); err != nil {
		return platform.Platform{}, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return platform.From(p), e.addDocument(d.Digest, data)
}

func (e *exporter) config(dir *imageDir, d v1.Descriptor) ([]byte, error) {
	node, there := dir.blobs[d.Digest.String()]
	if !there {
		return nil, fmt.Errorf("%s is not in %s", d.Digest, e)
	}
	return e.read(node.CID, d)
}

// addBlob takes in a blob, if the root has it.
func (e *exporter) addBlob(dir *imageDir, d v1.Descriptor) (there bool, err error) {
	if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
		return false, err
	}
	size, known := e.there[d.Digest]
	if !known {
		node, there := dir.blobs[d.Digest.String()]
		if !there {
			return false, nil
		}
		f, err := e.from.File(e.ctx, node.CID)
		if err != nil {
			return false, fmt.Errorf("blob %s: %w", d.Digest, err)
		}
		size = f.Table.Size()
		e.there[d.Digest] = size
		e.blobs = append(e.blobs, exportedBlob{d.Digest, e.keep(f), size})
	}
	if size != d.Size {
		return true, sizeError(d, size)
	}
	return true, nil
}

// maxLeaves is how many leaves are kept in memory: of the blobs that have the
// others, nodes are read again.
const maxLeaves = 1 << 19

func (e *exporter) keep(f *unixfs.File) unixfs.File {
	if e.leaves += len(f.Table.Leaves); e.leaves > maxLeaves {
		return unixfs.File{Node: f.Node}
	}
	return *f
}

// maxDocuments is how many bytes of manifests and configs are kept in memory.
const maxDocuments = 128 << 20

func (e *exporter) addDocument(d digest.Digest, data []byte) error {
	if _, known := e.there[d]; known {
		return nil
	}
	if e.bytes += len(data); e.bytes > maxDocuments {
		return fmt.Errorf("manifests and configs of more than %d bytes", maxDocuments)
	}
	e.there[d] = int64(len(data))
	e.documents = append(e.documents, exportedDocument{d, data})
	return nil
}

// read reads a file that is a descriptor's manifest or config.
func (e *exporter) read(file cid.Cid, d v1.Descriptor) ([]byte, error) {
	data, err := e.from.Read(e.ctx, file, layout.MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return data, checkDocument(data, d)
}

func checkDocument(data []byte, d v1.Descriptor) error {
	if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
		return err
	}
	if int64(len(data)) != d.Size {
		return sizeError(d, int64(len(data)))
	}
	if d.Digest.Algorithm().FromBytes(data) != d.Digest {
		return digestError(d.Digest)
	}
	return nil
}

func sizeError(d v1.Descriptor, size int64) error {
	return fmt.Errorf("%s has %d bytes, and its descriptor says %d", d.Digest, size, d.Size)
}

func digestError(d digest.Digest) error { return fmt.Errorf("%s: %w", d, errDigest) }

var errDigest = errors.New("the content has another digest than what it is called")
