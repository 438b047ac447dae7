// Package platform knows what images are for: an operating system and a processor,
// of which some have variants that one another's programs run on.
package platform

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Platform is what an image is for.
type Platform struct {
	OS, Architecture string
	Variant          string // any if empty
}

// Parse reads a platform as Docker writes it: os/arch[/variant].
func Parse(s string) (*Platform, error) {
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

// Serves reports whether an image for p serves who wants one for other.
func (p Platform) Serves(other Platform) bool {
	return p.OS == other.OS && p.Architecture == other.Architecture &&
		(other.Variant == "" || p.variant() == other.variant())
}

// Usual returns the platform with the variant that is meant where none is named.
func (p Platform) Usual() Platform {
	p.Variant = p.variant()
	return p
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

// Of returns the platform that an index says one of its images is for, if
// it says so.
func Of(d v1.Descriptor) (p Platform, ok bool) {
	if d.Platform == nil || IsAttestation(d) {
		return Platform{}, false
	}
	return From(*d.Platform), true
}

// From returns the platform that a config or an index says.
func From(p v1.Platform) Platform { return Platform{p.OS, p.Architecture, p.Variant} }

// Describe says what an entry of an index is.
func Describe(d v1.Descriptor) string {
	if p, ok := Of(d); ok {
		return "the image for " + p.String()
	}
	return "a manifest"
}

// IsAttestation reports whether an index's entry is about another one, as those
// of buildx are, which no platform would choose.
func IsAttestation(d v1.Descriptor) bool {
	return d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// Choose returns which of the platforms serves who wants one, or -1: of
// several the usual variant, or the first.
func Choose(all []Platform, wanted Platform) int {
	for _, wanted := range []Platform{wanted.Usual(), wanted} {
		if i := slices.IndexFunc(all, func(p Platform) bool { return p.Serves(wanted) }); i >= 0 {
			return i
		}
	}
	return -1
}
