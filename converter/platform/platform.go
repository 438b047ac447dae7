// Package platform reads, compares and chooses the platforms of images: an operating
// system, its version, and a processor with its variants.
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
	OSVersion        string // of Windows; any if empty
}

// Parse reads a platform as Docker writes it, os/arch[/variant], or with a version of
// the operating system, as containerd writes it, os(version)/arch[/variant], or
// behind a colon.
func Parse(s string) (*Platform, error) {
	name, version := splitVersion(s)
	parts := strings.Split(strings.ToLower(name), "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return nil, fmt.Errorf("%q is not a platform: write it as linux/amd64, linux/arm/v7 or windows(10.0.20348)/amd64", s)
	}
	p := &Platform{OS: parts[0], Architecture: parts[1], OSVersion: version}
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

// splitVersion takes the version of the operating system out of a platform.
func splitVersion(s string) (name, version string) {
	if name, version, found := strings.Cut(s, ":"); found && version != "" {
		return name, version
	}
	os, rest, found := strings.Cut(s, "(")
	version, rest, closed := strings.Cut(rest, ")")
	if !found || !closed || version == "" {
		return s, ""
	}
	return os + rest, version
}

func (p Platform) String() string {
	name := p.OS
	if p.OSVersion != "" {
		name += "(" + p.OSVersion + ")"
	}
	name += "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}

// Serves reports whether an image for p can be used where one for wanted is asked for.
// A wanted version of the operating system may leave out its last parts.
func (p Platform) Serves(wanted Platform) bool {
	return p.OS == wanted.OS && p.Architecture == wanted.Architecture &&
		(wanted.Variant == "" || p.variant() == wanted.variant()) &&
		(wanted.OSVersion == "" || strings.HasPrefix(p.OSVersion+".", wanted.OSVersion+"."))
}

// Usual returns the platform with the default variant where p names none.
func (p Platform) Usual() Platform {
	p.Variant = p.variant()
	return p
}

// variant returns the variant, or the default one of the architecture.
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

// Of returns the platform of an entry of an index, if the entry gives one.
func Of(d v1.Descriptor) (p Platform, ok bool) {
	if d.Platform == nil || d.Platform.OS == "" || IsAttestation(d) {
		return Platform{}, false
	}
	return From(*d.Platform), true
}

// From returns the platform that a config or an index says.
func From(p v1.Platform) Platform { return Platform{p.OS, p.Architecture, p.Variant, p.OSVersion} }

// Describe says what an entry of an index is, for messages.
func Describe(d v1.Descriptor) string {
	if p, ok := Of(d); ok {
		return "the image for " + p.String()
	}
	return "a manifest"
}

// IsAttestation reports whether an entry of an index is an attestation about another
// entry, as buildx writes it. No platform is served by it.
func IsAttestation(d v1.Descriptor) bool {
	return d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// Choose returns which of the platforms serves the wanted one, or -1. Of several
// variants it is the usual one, or else the first.
func Choose(all []Platform, wanted Platform) int {
	for _, wanted := range []Platform{wanted.Usual(), wanted} {
		if i := slices.IndexFunc(all, func(p Platform) bool { return p.Serves(wanted) }); i >= 0 {
			return i
		}
	}
	return -1
}
