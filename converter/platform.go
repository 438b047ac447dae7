package converter

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Platform is what an image is for.
type Platform struct {
	OS, Architecture string
	Variant          string // any if empty
}

// ParsePlatform reads a platform as Docker writes it: os/arch[/variant].
func ParsePlatform(s string) (*Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) < 2 || len(parts) > 3 || strings.Contains("/"+s+"/", "//") {
		return nil, fmt.Errorf("%q is no platform: linux/amd64 and linux/arm/v7 are", s)
	}
	p := &Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	switch p.Architecture { // as the kernel calls them
	case "x86_64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	}
	return p, nil
}

func (p Platform) String() string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}

// is reports whether an image for p serves who wants one for other.
func (p Platform) is(other Platform) bool {
	return p.OS == other.OS && p.Architecture == other.Architecture &&
		(other.Variant == "" || p.variant() == other.variant())
}

// variant returns the variant that is meant where none is named.
func (p Platform) variant() string {
	switch {
	case p.Variant != "":
		return p.Variant
	case p.Architecture == "arm":
		return "v7"
	case p.Architecture == "arm64":
		return "v8"
	}
	return "v1"
}

func platformOf(d v1.Descriptor) (p Platform, ok bool) {
	if d.Platform == nil || isAttestation(d) {
		return Platform{}, false
	}
	return Platform{d.Platform.OS, d.Platform.Architecture, d.Platform.Variant}, true
}

// choose returns the manifest of the wanted platform, with the index's names: of
// several the usual variant, or the first. What is no index must be for it.
func (a *archive) choose(d v1.Descriptor) (chosen v1.Descriptor, ok bool, err error) {
	m, err := a.manifest(d)
	if err != nil {
		return d, false, err
	}
	if !isIndex(m) {
		return d, false, a.checkPlatform(m)
	}
	exact := *a.want.platform
	exact.Variant = exact.variant()
	found, there, err := a.ofPlatform(m, exact, 0)
	if found == nil && err == nil {
		found, there, err = a.ofPlatform(m, *a.want.platform, 0)
	}
	switch {
	case err != nil:
		return d, false, err
	case found == nil && len(there) == 0:
		return d, false, fmt.Errorf("index %s names no image for %s, nor for any platform", m.Digest, a.want.platform)
	case found == nil:
		return d, false, fmt.Errorf("index %s names no image for %s: there is %s", m.Digest, a.want.platform, some(there))
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
func (a *archive) ofPlatform(m layout.Manifest, wanted Platform, depth int) (found *v1.Descriptor, there []string, err error) {
	if depth > maxNesting {
		return nil, nil, errNesting
	}
	var index v1.Index
	if err := unmarshalIndex(m, &index); err != nil {
		return nil, nil, err
	}
	for _, d := range index.Manifests {
		if p, ok := platformOf(d); ok {
			if p.is(wanted) {
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
	var manifest v1.Manifest
	if err := json.Unmarshal(m.Data, &manifest); err != nil {
		return fmt.Errorf("reading manifest %s: %w", m.Digest, err)
	}
	if !isConfig(manifest.Config.MediaType) {
		return nil // an artifact is for all
	}
	config, err := a.blob(manifest.Config)
	if err != nil {
		return fmt.Errorf("config of manifest %s: %w", m.Digest, err)
	}
	return a.checkConfigPlatform(config)
}

func (a *archive) checkConfigPlatform(config *content) error {
	if a.want.platform == nil {
		return nil
	}
	data, err := config.document()
	if err != nil {
		return err
	}
	var p v1.Platform
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("reading config %s: %w", config.name, err)
	}
	if there := (Platform{p.OS, p.Architecture, p.Variant}); !there.is(*a.want.platform) {
		return fmt.Errorf("the image is for %s, and not for %s", there, a.want.platform)
	}
	return nil
}

func describePlatform(d v1.Descriptor) string {
	if p, ok := platformOf(d); ok {
		return "the image for " + p.String()
	}
	return "a manifest"
}
