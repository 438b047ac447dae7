package converter

import (
	"encoding/json"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// choose returns the manifest of the wanted platform, with the index's names: of
// several the usual variant, or the first. What is no index must be for it.
func (a *archive) choose(d v1.Descriptor) (chosen v1.Descriptor, ok bool, err error) {
	m, err := a.manifest(d)
	if err != nil {
		return d, false, err
	}
	if !manifest.IsIndex(m) {
		return d, false, a.checkPlatform(m)
	}
	found, there, err := a.ofPlatform(m, a.want.platform.Usual(), 0)
	if found == nil && err == nil {
		found, there, err = a.ofPlatform(m, *a.want.platform, 0)
	}
	switch {
	case err != nil:
		return d, false, err
	case found == nil && len(there) == 0:
		return d, false, fmt.Errorf("index %s names no image for %s, nor for any platform", m.Digest, a.want.platform)
	case found == nil:
		return d, false, fmt.Errorf("index %s names no image for %s: there is %s", m.Digest, a.want.platform, alternatives.List(there))
	}
	chosen = v1.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size, Annotations: d.Annotations}
	return chosen, true, nil
}

// chooseNow chooses, if need be, so that nobody has to choose later.
func (a *archive) chooseNow(d v1.Descriptor) (v1.Descriptor, error) {
	if a.want.platform == nil {
		return d, nil
	}
	chosen, ok, err := a.choose(d)
	a.want.platform = nil
	if err != nil || !ok {
		return d, err
	}
	return chosen, nil
}

// ofPlatform finds the wanted platform's image in an index, and in those that it
// names, or says what is there instead.
func (a *archive) ofPlatform(m layout.Manifest, wanted platform.Platform, depth int) (found *v1.Descriptor, there []string, err error) {
	if depth > manifest.MaxNesting {
		return nil, nil, manifest.ErrNesting
	}
	index, err := manifest.ParseIndex(m)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range index.Manifests {
		if p, ok := platform.Of(d); ok {
			if p.Serves(wanted) {
				return &d, nil, nil
			}
			there = append(there, p.String())
			continue
		}
		if d.MediaType != v1.MediaTypeImageIndex && d.MediaType != layout.DockerManifestList {
			continue
		}
		below, err := a.manifest(d)
		if err != nil {
			return nil, nil, err
		}
		found, others, err := a.ofPlatform(below, wanted, depth+1)
		if found != nil || err != nil {
			return found, nil, err
		}
		there = append(there, others...)
	}
	return nil, there, nil
}

// checkPlatform reports whether an image that comes without an index is for
// another platform than the wanted one.
func (a *archive) checkPlatform(m layout.Manifest) error {
	fields, err := manifest.Parse(m)
	if err != nil {
		return err
	}
	if fields.Config == nil || !manifest.IsConfig(fields.Config.MediaType) {
		return nil // an artifact is for all
	}
	config, err := a.blob(*fields.Config)
	if err != nil {
		return fmt.Errorf("config of manifest %s: %w", m.Digest, err)
	}
	return a.checkConfigPlatform(config)
}

func (a *archive) checkConfigPlatform(config *blob.Content) error {
	if a.want.platform == nil {
		return nil
	}
	data, err := config.Document()
	if err != nil {
		return err
	}
	var p v1.Platform
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("reading config %s: %w", config.Name, err)
	}
	if there := platform.From(p); !there.Serves(*a.want.platform) {
		return fmt.Errorf("the image is for %s, and not for %s", there, a.want.platform)
	}
	return nil
}
