package export

import (
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// choose returns the manifest of the wanted platform. What is no index must be
// for it.
func (e *exporter) choose(dir *imageDir, top v1.Descriptor, m layout.Manifest) (v1.Descriptor, layout.Manifest, error) {
	if !manifest.IsIndex(m) {
		return top, m, e.checkPlatform(dir, m)
	}
	there, err := e.platformsOf(dir, m, 0)
	if err != nil {
		return top, m, err
	}
	platforms := make([]platform.Platform, len(there))
	for i, d := range there {
		platforms[i], _ = platform.Of(d)
	}
	i := platform.Choose(platforms, *e.Platform)
	switch {
	case len(there) == 0:
		return top, m, fmt.Errorf("there is no image for %s, nor for any platform", e.Platform)
	case i < 0:
		return top, m, fmt.Errorf("there is no image for %s: there is %s", e.Platform, somePlatforms(platforms))
	}
	chosen := there[i]
	m, _, err = e.manifest(dir, chosen)
	return v1.Descriptor{MediaType: m.MediaType, Digest: chosen.Digest, Size: chosen.Size, Platform: chosen.Platform}, m, err
}

// platformsOf returns what an index names for any platform, and those that it
// names, as far as the root has it.
func (e *exporter) platformsOf(dir *imageDir, index layout.Manifest, depth int) ([]v1.Descriptor, error) {
	if depth > manifest.MaxNesting {
		return nil, manifest.ErrNesting
	}
	fields, err := manifest.ParseIndex(index)
	if err != nil {
		return nil, err
	}
	var there []v1.Descriptor
	for _, d := range fields.Manifests {
		if _, found := dir.manifests[d.Digest.String()]; !found {
			continue
		}
		if _, ok := platform.Of(d); ok {
			there = append(there, d)
			continue
		}
		if d.MediaType != v1.MediaTypeImageIndex && d.MediaType != layout.DockerManifestList {
			continue
		}
		m, _, err := e.manifest(dir, d)
		if err != nil {
			return nil, err
		}
		below, err := e.platformsOf(dir, m, depth+1)
		if err != nil {
			return nil, err
		}
		there = append(there, below...)
	}
	return there, nil
}

// checkPlatform reports whether an image that comes without an index is for
// another platform than the wanted one. An artifact is for all.
func (e *exporter) checkPlatform(dir *imageDir, m layout.Manifest) error {
	fields, err := manifest.Parse(m)
	if err != nil {
		return err
	}
	if fields.Config == nil || !manifest.IsConfig(fields.Config.MediaType) {
		return nil
	}
	p, err := e.addConfig(dir, *fields.Config)
	if err == nil && !p.Serves(*e.Platform) {
		err = fmt.Errorf("the image is for %s, and not for %s", p, e.Platform)
	}
	return err
}
