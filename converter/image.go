package converter

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// An image is one tag of the archive, or an untagged image: a manifest or index
// and all that it leads to.
type image struct {
	ref
	*graph // which all of its names share
}

// A graph is a manifest or index and all that it leads to.
type graph struct {
	top    layout.Manifest
	below  []layout.Manifest            // those that an index names, and referrers
	known  map[digest.Digest]bool       // what all of these are called
	blobs  map[digest.Digest]*blob.Blob // configs and layers, by what manifests call them
	config digest.Digest                // of an image that is no index
}

// newImage returns the image of a manifest or index that somebody calls by the
// given digest.
func newImage(top layout.Manifest, name digest.Digest) *image {
	g := &graph{top: top, known: map[digest.Digest]bool{}, blobs: map[digest.Digest]*blob.Blob{}}
	g.know(top, name)
	return &image{graph: g}
}

// add adds a manifest or index that somebody calls by the given digest.
func (g *graph) add(m layout.Manifest, name digest.Digest) {
	g.below = append(g.below, m)
	g.know(m, name)
}

// know notes a manifest's digests. The registry calls every manifest by its
// sha256, and who named it by another is given the same under that name too.
func (g *graph) know(m layout.Manifest, name digest.Digest) {
	g.known[m.Digest] = true
	g.known[name] = true
	if name != m.Digest {
		m.Digest = name
		g.below = append(g.below, m)
	}
}

// has reports whether a manifest of that digest is there.
func (g *graph) has(d digest.Digest) bool { return g.known[d] }

// manifests returns the manifest or index and those below it.
func (g *graph) manifests() []layout.Manifest {
	return append([]layout.Manifest{g.top}, g.below...)
}

// images works out what the archive holds, and checks all of it.
//
// An OCI index says which manifests there are, bytes and all, and a Docker list
// only of which configs and layers to make them, so the index is preferred. Both
// name the same images where a program wrote both.
func (a *archive) images() ([]*image, error) {
	list := a.dockerImages
	if a.documents[ocilayout.Index] != nil {
		list = a.ociImages
	}
	images, err := list()
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("%s holds no image", a.where)
	}
	images, err = a.attachReferrers(images)
	if err != nil {
		return nil, err
	}
	if a.want.as != (ref{}) {
		return a.rename(images)
	}
	for _, img := range images {
		if err := checkRef(img.ref); err != nil {
			return nil, fmt.Errorf("%w: call it something else with --name", err)
		}
	}
	return distinct(images)
}

// rename calls the one image that there is, under however many names, by
// another.
func (a *archive) rename(images []*image) ([]*image, error) {
	img, as := images[0], a.want.as
	for _, other := range images {
		if other.top.Digest != img.top.Digest {
			return nil, fmt.Errorf("%s holds several images: --name and --tag are for one", a.where)
		}
	}
	if as.name != "" {
		img.name = as.name
	}
	if as.tag != "" {
		img.tag = as.tag
	}
	return images[:1], nil
}

// distinct drops images that are named twice, and refuses names that mean two
// things.
func distinct(images []*image) ([]*image, error) {
	seen := map[ref]*image{}
	untagged := map[digest.Digest]bool{}
	kept := images[:0]
	for _, img := range images {
		if img.tag == "" {
			if !untagged[img.top.Digest] {
				kept = append(kept, img)
			}
			untagged[img.top.Digest] = true
			continue
		}
		first := seen[img.ref]
		if first == nil {
			seen[img.ref] = img
			kept = append(kept, img)
			continue
		}
		if first.top.Digest != img.top.Digest {
			return nil, fmt.Errorf("%s names two different images, %s and %s: save one of them alone, and call it something else with --tag",
				img.ref, first.top.Digest, img.top.Digest)
		}
	}
	return kept, nil
}

// dockerImages reads Docker's own list.
func (a *archive) dockerImages() ([]*image, error) {
	list, err := a.dockerList()
	if err != nil {
		return nil, err
	}
	if list, err = a.wantedEntries(list); err != nil {
		return nil, err
	}
	var images []*image
	for i, entry := range list {
		if entry.Config == "" {
			return nil, fmt.Errorf("image %d of %s has no config", i+1, ocilayout.DockerList)
		}
		img, err := a.dockerImage(entry)
		if err != nil {
			return nil, err
		}
		references, err := parseRepoTags(entry.RepoTags)
		if err != nil {
			return nil, err
		}
		images = append(images, img.named(references)...)
	}
	return images, nil
}

// wantedEntries returns those of the entries that are, with their wanted names.
func (a *archive) wantedEntries(list []ocilayout.DockerEntry) ([]ocilayout.DockerEntry, error) {
	if a.want.name == "" {
		return list, nil
	}
	var there []string
	for _, entry := range list {
		there = append(there, entry.RepoTags...)
		for _, name := range entry.RepoTags {
			if a.want.is(name) {
				entry.RepoTags = []string{name}
				return []ocilayout.DockerEntry{entry}, nil
			}
		}
	}
	return nil, a.noSuchImage(there)
}

func (a *archive) dockerImage(entry ocilayout.DockerEntry) (*image, error) {
	config, err := a.find(entry.Config)
	if err != nil {
		return nil, fmt.Errorf("config %w", err)
	}
	if err := checkConfigName(entry.Config, config); err != nil {
		return nil, err
	}
	if err := a.checkConfigPlatform(config); err != nil {
		return nil, err
	}
	layers, err := a.findAll(entry.Layers)
	if err != nil {
		return nil, err
	}
	return makeImage(config, layers)
}

// checkConfigName holds a config against the digest that it is called by, in all
// archives of Docker's and its imitators'.
func checkConfigName(name string, config *blob.Content) error {
	base := strings.TrimPrefix(strings.TrimSuffix(path.Base(name), ".json"), "sha256:")
	if d := digest.NewDigestFromEncoded(digest.SHA256, base); d.Validate() == nil && d != config.Digest {
		return fmt.Errorf("config %s has the digest %s", name, config.Digest)
	}
	return nil
}

// named returns the image once for each of its names.
func (img *image) named(references []ref) []*image {
	images := make([]*image, len(references))
	for i, r := range references {
		images[i] = &image{r, img.graph}
	}
	return images
}

func (a *archive) findAll(names []string) ([]*blob.Content, error) {
	layers := make([]*blob.Content, len(names))
	for i, name := range names {
		var err error
		if layers[i], err = a.find(name); err != nil {
			return nil, fmt.Errorf("layer %w", err)
		}
	}
	return layers, nil
}

// makeImage writes a manifest for a config and its layers: Docker's schema 2,
// which every client reads, with nothing in it that does not follow from the
// two, so that every archive of an image gives the same.
func makeImage(config *blob.Content, layers []*blob.Content) (*image, error) {
	if err := checkDiffIDs(config, layers); err != nil {
		return nil, err
	}
	configBlob, err := config.AsIs()
	if err != nil {
		return nil, err
	}
	blobs := map[digest.Digest]*blob.Blob{configBlob.Digest: configBlob}
	manifest := dockerManifest{
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
		blobs[blob.Digest] = blob
		manifest.Layers[i] = descriptor{l.LayerType(), blob.Size(), blob.Digest}
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	top, err := layout.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", config.Name, err)
	}
	img := newImage(top, top.Digest)
	img.blobs, img.config = blobs, configBlob.Digest
	return img, nil
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

// checkDiffIDs holds the layers against the digests that the config gives for
// them uncompressed, with which every client will compare them. Of those that may
// be missing, nothing is known.
func checkDiffIDs(config *blob.Content, layers []*blob.Content) error {
	want, err := config.DiffIDs()
	if err != nil {
		return err
	}
	if len(want) != len(layers) {
		return fmt.Errorf("config %s has %d layers, and the manifest %d", config.Name, len(want), len(layers))
	}
	for i, l := range layers {
		if l == nil {
			continue
		}
		if l.DiffID == "" {
			return fmt.Errorf("layer %s does not decompress: %w", l.Name, l.Broken)
		}
		got, err := l.DiffIDBy(want[i].Algorithm())
		if err != nil {
			return err
		}
		if got != want[i] {
			return fmt.Errorf("layer %s is %s uncompressed, and the config says %s", l.Name, got, want[i])
		}
	}
	return nil
}

// allPlain reports whether none of the layers came compressed.
func allPlain(layers []*blob.Content) bool {
	return !slices.ContainsFunc(layers, func(l *blob.Content) bool { return l == nil || l.CameCompressed() })
}
