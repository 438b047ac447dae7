package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// An image is one tag of the archive, or an untagged image: a manifest or index
// and all that it leads to.
type image struct {
	ref
	top   layout.Manifest
	below []layout.Manifest // those that an index names
	blobs []*Blob           // configs and layers
}

// images works out what the archive holds, and checks all of it.
//
// An OCI index says which manifests there are, bytes and all, and a Docker list
// only of which configs and layers to make them, so the index is preferred. Both
// name the same images where a program wrote both.
func (a *archive) images(as ref) ([]*image, error) {
	list := a.dockerImages
	if a.documents[ociIndex] != nil {
		list = a.ociImages
	}
	images, err := list()
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, errors.New("the archive holds no image")
	}
	images, err = attachReferrers(images)
	if err != nil {
		return nil, err
	}
	if as != (ref{}) {
		return rename(images, as)
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
func rename(images []*image, as ref) ([]*image, error) {
	img := images[0]
	for _, other := range images {
		if other.top.Digest != img.top.Digest {
			return nil, errors.New("the archive holds several images: --name and --tag are for one")
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
	var images []*image
	for i, entry := range list {
		if entry.Config == "" {
			return nil, fmt.Errorf("image %d of %s has no config", i+1, dockerManifests)
		}
		config, err := a.find(entry.Config)
		if err != nil {
			return nil, fmt.Errorf("config %w", err)
		}
		layers, err := a.findAll(entry.Layers)
		if err != nil {
			return nil, err
		}
		img, err := makeImage(config, layers)
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

// named returns the image once for each of its names.
func (img *image) named(references []ref) []*image {
	images := make([]*image, len(references))
	for i, r := range references {
		named := *img
		named.ref = r
		images[i] = &named
	}
	return images
}

func (a *archive) findAll(names []string) ([]*content, error) {
	layers := make([]*content, len(names))
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
func makeImage(config *content, layers []*content) (*image, error) {
	if err := checkDiffIDs(config, layers); err != nil {
		return nil, err
	}
	configBlob, err := config.asIs()
	if err != nil {
		return nil, err
	}
	blobs := []*Blob{configBlob}
	manifest := dockerManifest{
		SchemaVersion: 2,
		MediaType:     layout.DockerManifest,
		Config:        descriptor{layout.DockerConfig, configBlob.Size(), configBlob.Digest},
		Layers:        make([]descriptor, len(layers)),
	}
	for i, l := range layers {
		blob, err := l.asLayer()
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, blob)
		manifest.Layers[i] = descriptor{l.layerType(), blob.Size(), blob.Digest}
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	top, err := layout.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", config.name, err)
	}
	return &image{top: top, blobs: blobs}, nil
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
// them uncompressed, with which every client will compare them.
func checkDiffIDs(config *content, layers []*content) error {
	want, err := config.diffIDs()
	if err != nil {
		return err
	}
	if len(want) != len(layers) {
		return fmt.Errorf("config %s has %d layers, and the manifest %d", config.name, len(want), len(layers))
	}
	for i, l := range layers {
		if l.diffID == "" {
			return fmt.Errorf("layer %s does not decompress", l.name)
		}
		if l.diffID != want[i] {
			return fmt.Errorf("layer %s is %s uncompressed, and the config says %s", l.name, l.diffID, want[i])
		}
	}
	return nil
}

// allPlain reports whether none of the layers came compressed.
func allPlain(layers []*content) bool {
	return !slices.ContainsFunc(layers, func(l *content) bool { return l.encoding != uncompressed })
}
