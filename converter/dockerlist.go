package converter

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// listedImages returns the images of Docker's own list.
func (r *reader) listedImages() ([]*image, error) {
	listed, err := r.wantedListed()
	if err != nil {
		return nil, err
	}
	var images []*image
	var unfit []error
	for _, entry := range listed {
		config, err := r.listedConfig(entry.Config)
		if err != nil {
			return nil, err
		}
		if p := platform.From(config.Platform); r.want.platform != nil && !p.Serves(*r.want.platform) {
			unfit = append(unfit, &platform.Error{Where: r.Where, Wanted: *r.want.platform, There: []platform.Platform{p}})
			continue
		}
		g, err := r.loadListed(entry, config.DiffIDs)
		if err != nil {
			return nil, err
		}
		refs, err := r.refs(g.top.Digest, readNames(entry.RepoTags))
		if err != nil {
			return nil, err
		}
		for _, called := range refs {
			images = append(images, &image{ref: called, graph: g, wanted: true, noName: len(entry.RepoTags) == 0})
		}
	}
	if len(images) == 0 && len(unfit) > 0 {
		return nil, noneFits(r.Where, *r.want.platform, unfit)
	}
	r.noteUnfit(unfit)
	return images, nil
}

// wantedListed returns the wanted entries of the list, with their wanted names. Docker
// knows an image by the digest of its config.
func (r *reader) wantedListed() ([]ocilayout.DockerEntry, error) {
	var there []string
	var wanted []ocilayout.DockerEntry
	for i, entry := range r.DockerList {
		if entry.Config == "" {
			return nil, fmt.Errorf("image %d of %s has no config", i+1, ocilayout.DockerList)
		}
		there = append(there, entry.RepoTags...)
		d := configDigest(entry.Config)
		if c, err := r.File(entry.Config); err == nil {
			d = c.Digest
		}
		if !r.want.is(i, d, entry.RepoTags) {
			continue
		}
		for _, name := range entry.RepoTags {
			if r.want.image != "" && sameName(name, r.want.image) {
				entry.RepoTags = []string{name}
				return []ocilayout.DockerEntry{entry}, nil
			}
		}
		wanted = append(wanted, entry)
	}
	if len(wanted) == 0 && r.want.image != "" {
		return nil, &NoImageError{r.Where, r.want.image, there}
	}
	return wanted, nil
}

// listedConfig reads the config of an entry, and checks it against the digest by which
// Docker, and the programs that imitate it, name it.
func (r *reader) listedConfig(name string) (*manifest.Config, error) {
	content, err := r.File(name)
	if err != nil {
		return nil, fmt.Errorf("config %w", err)
	}
	if d := configDigest(name); d != "" && d != content.Digest {
		return nil, fmt.Errorf("config %s has the digest %s", name, content.Digest)
	}
	c, err := r.readConfig(content)
	if err != nil {
		return nil, err
	}
	if c.err != nil {
		return nil, fmt.Errorf("config %s: %w", name, c.err)
	}
	return c.config, nil
}

// configDigest returns the digest in the name of a config, if there is one.
func configDigest(name string) digest.Digest {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	base = strings.TrimPrefix(strings.TrimSuffix(base, ".json"), "sha256:")
	if d := digest.NewDigestFromEncoded(digest.SHA256, base); d.Validate() == nil {
		return d
	}
	return ""
}

func (r *reader) loadListed(entry ocilayout.DockerEntry, diffIDs []digest.Digest) (*graph, error) {
	config, err := r.File(entry.Config)
	if err != nil {
		return nil, fmt.Errorf("config %w", err)
	}
	layers := make([]*blob.Content, len(entry.Layers))
	for i, name := range entry.Layers {
		if layers[i], err = r.File(name); err != nil {
			return nil, fmt.Errorf("layer %w", err)
		}
	}
	return makeImage(config, diffIDs, layers)
}
