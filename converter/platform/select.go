package platform

import (
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// An Error is the error where no image, or more than one, is for the wanted platform.
type Error struct {
	Where     string // what has the images
	Wanted    Platform
	There     []Platform // none, or all that there are
	Ambiguous bool       // each of There is for the wanted platform
}

func (e *Error) Error() string {
	switch {
	case e.Ambiguous:
		return fmt.Sprintf("%s has several images for %s: there is %s", e.Where, e.Wanted, list(e.There))
	case len(e.There) == 0:
		return fmt.Sprintf("%s has no image for %s, nor for any platform", e.Where, e.Wanted)
	}
	return fmt.Sprintf("%s has no image for %s: there is %s", e.Where, e.Wanted, list(e.There))
}

func list(all []Platform) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.String()
	}
	return alternatives.List(names)
}

// Select returns the descriptor of the image for the wanted platform that an index
// leads to, among those that are there. Of several variants it takes the usual one,
// or else the first. The error is an *Error where no image fits, and where several
// fit that are for different versions of the operating system.
//
// ofConfig returns the platform that the config of a manifest says, for indexes that
// do not say it, and false for artifacts.
func Select(g *manifest.Graph, index v1.Descriptor, wanted Platform, ofConfig func(*manifest.Node) (Platform, bool, error)) (v1.Descriptor, error) {
	all, err := candidates(g, index, ofConfig)
	if err != nil {
		return v1.Descriptor{}, err
	}
	where := "index " + index.Digest.String()
	var missing error
	for _, variant := range []Platform{wanted.Usual(), wanted} {
		var fit []candidate
		for _, c := range all {
			if !c.Serves(variant) {
				continue
			}
			_, err := g.Node(c.Descriptor)
			switch {
			case manifest.IsMissing(err):
				missing = fmt.Errorf("the image for %s: %w", c.Platform, err)
			case err != nil:
				return v1.Descriptor{}, err
			default:
				fit = append(fit, c)
			}
		}
		if len(fit) == 0 {
			continue
		}
		if slices.ContainsFunc(fit, func(c candidate) bool { return c.OSVersion != fit[0].OSVersion }) {
			return v1.Descriptor{}, &Error{where, wanted, platformsOf(fit), true}
		}
		return fit[0].Descriptor, nil
	}
	if missing != nil {
		return v1.Descriptor{}, missing
	}
	return v1.Descriptor{}, &Error{where, wanted, platformsOf(all), false}
}

// A candidate is an image that an index leads to.
type candidate struct {
	v1.Descriptor
	Platform
}

func platformsOf(all []candidate) []Platform {
	there := make([]Platform, len(all))
	for i, c := range all {
		there[i] = c.Platform
	}
	return there
}

func candidates(g *manifest.Graph, index v1.Descriptor, ofConfig func(*manifest.Node) (Platform, bool, error)) ([]candidate, error) {
	var all []candidate
	err := g.WalkIndexes(index, func(s manifest.Step) error {
		for _, b := range s.Below {
			if p, ok := Of(b.Descriptor); ok {
				all = append(all, candidate{b.Descriptor, p})
				continue
			}
			if b.Node != nil || IsAttestation(b.Descriptor) || !manifest.IsManifest(b.Descriptor) {
				continue
			}
			n, err := g.Node(b.Descriptor)
			if manifest.IsMissing(err) {
				continue
			}
			if err != nil {
				return err
			}
			p, ok, err := ofConfig(n)
			if err != nil && !manifest.IsMissing(err) {
				return err
			}
			if ok && err == nil {
				all = append(all, candidate{b.Descriptor, p})
			}
		}
		return nil
	})
	return all, err
}
