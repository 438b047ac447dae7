package converter

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// An image is one tag of a source, or an untagged image.
type image struct {
	ref
	*graph               // shared by all names of the image
	wanted bool          // and not only there as a referrer
	noName bool          // no program has named it
	signs  digest.Digest // of a signature in cosign's way: what it is about
}

// A graph is a manifest or index and all that it leads to.
type graph struct {
	top   *manifest.Node
	below []*manifest.Node             // those that an index names, and referrers
	known map[digest.Digest]bool       // the digests of all of these, in all algorithms
	blobs map[digest.Digest]*blob.Blob // configs and layers, by the digests in manifests

	// compressed are the layers of images that are kept compressed as they came.
	compressed map[digest.Digest]bool
}

func newGraph() *graph {
	return &graph{known: map[digest.Digest]bool{}, blobs: map[digest.Digest]*blob.Blob{}, compressed: map[digest.Digest]bool{}}
}

// add adds a manifest or index, the last of which is the top. The registry names every
// manifest by its sha256. One that is named by another algorithm has both names.
func (g *graph) add(n *manifest.Node, name digest.Digest) {
	if g.top != nil {
		g.below = append(g.below, g.top)
	}
	g.top = n
	g.known[n.Digest] = true
	g.known[name] = true
	if name != n.Digest {
		alias := *n
		alias.Digest = name
		g.below = append(g.below, &alias)
	}
}

// manifests returns the manifest or index and those below it.
func (g *graph) manifests() []*manifest.Node { return append([]*manifest.Node{g.top}, g.below...) }

// makeImage writes a manifest for a config and its layers: Docker's schema 2, which
// every client reads. Nothing is in it that does not follow from the two, so every
// archive of an image gives the same manifest.
func makeImage(config *blob.Content, diffIDs []digest.Digest, layers []*blob.Content) (*graph, error) {
	if err := checkDiffIDs(config.Name, diffIDs, layers); err != nil {
		return nil, err
	}
	g := newGraph()
	configBlob, err := config.AsIs()
	if err != nil {
		return nil, err
	}
	g.blobs[configBlob.Digest] = configBlob
	m := dockerManifest{
		SchemaVersion: 2,
		MediaType:     layout.DockerManifest,
		Config:        descriptor{layout.DockerConfig, configBlob.Size(), configBlob.Digest},
		Layers:        make([]descriptor, len(layers)),
	}
	for i, l := range layers {
		blob, err := l.AsLayer()
		if err != nil {
			return nil, err
		}
		g.blobs[blob.Digest] = blob
		if l.IsKept() {
			g.compressed[blob.Digest] = true
		}
		m.Layers[i] = descriptor{l.LayerType(), blob.Size(), blob.Digest}
	}
	n, err := m.node()
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", config.Name, err)
	}
	g.add(n, n.Digest)
	return g, nil
}

// dockerManifest is Docker's schema 2 with its keys in the order of its
// documentation. Order and fields are part of format 1.
type dockerManifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type descriptor struct {
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Digest    digest.Digest `json:"digest"`
}

func (m dockerManifest) node() (*manifest.Node, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(data) > layout.MaxManifest {
		return nil, fmt.Errorf("%d layers need more than the %d bytes of a manifest", len(m.Layers), layout.MaxManifest)
	}
	n := &manifest.Node{Manifest: layout.Manifest{Data: data, Digest: digest.FromBytes(data), MediaType: m.MediaType}}
	n.Config = m.Config.oci()
	for _, l := range m.Layers {
		n.Layers = append(n.Layers, *l.oci())
	}
	return n, nil
}

func (d descriptor) oci() *v1.Descriptor {
	return &v1.Descriptor{MediaType: d.MediaType, Size: d.Size, Digest: d.Digest}
}

// checkDiffIDs compares layers with the digests that the config gives for them
// uncompressed, as every client does. A nil layer is not checked.
func checkDiffIDs(config string, diffIDs []digest.Digest, layers []*blob.Content) error {
	if len(diffIDs) != len(layers) {
		return fmt.Errorf("config %s has %d layers, and the manifest %d", config, len(diffIDs), len(layers))
	}
	for i, l := range layers {
		if l == nil {
			continue
		}
		if l.DiffID == "" {
			return fmt.Errorf("layer %s does not decompress: %w", l.Name, l.Broken)
		}
		got, err := l.DiffIDBy(diffIDs[i].Algorithm())
		if err != nil {
			return err
		}
		if got != diffIDs[i] {
			return fmt.Errorf("layer %s is %s uncompressed, and the config says %s", l.Name, got, diffIDs[i])
		}
	}
	return nil
}
