package export

import (
	"fmt"
	"runtime"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

// A dockerImage is an image that Docker's list, manifest.json, can name. That list
// is all that Docker's classic image store and many other programs read. It knows no
// platforms, so for an index it names one of the images there.
type dockerImage struct {
	platform.Platform
	ocilayout.DockerEntry
}

// forThisMachine returns the image that runs on this machine, or on the Linux in
// which its containers run. It is nil if there is none.
func forThisMachine(images []dockerImage) *dockerImage {
	for _, system := range []string{runtime.GOOS, "linux"} {
		if i := platform.Choose(platforms(images), platform.Platform{OS: system, Architecture: runtime.GOARCH}); i >= 0 {
			return &images[i]
		}
	}
	return nil
}

func platforms(images []dockerImage) []platform.Platform {
	all := make([]platform.Platform, len(images))
	for i, img := range images {
		all[i] = img.Platform
	}
	return all
}

func platformList(all []platform.Platform) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.String()
	}
	return alternatives.List(names)
}

// An imageName is what other programs call an image. It is empty for an untagged one.
type imageName struct{ full, familiar, tag string }

// exportedName returns the name of an image as containerd and as people write it.
// If the image is the root itself, the name is a tag only.
func exportedName(img origin.Image) (imageName, error) {
	name := imageName{tag: img.Tag}
	if img.Name == "" || img.Tag == "" {
		return name, nil
	}
	named, err := reference.ParseNormalizedNamed(img.Name)
	if err != nil {
		return name, fmt.Errorf("other programs cannot call an image that: %w", err)
	}
	tagged, err := reference.WithTag(named, img.Tag)
	if err != nil {
		return name, fmt.Errorf("other programs cannot call an image that: %w", err)
	}
	name.full, name.familiar = tagged.String(), reference.FamiliarString(tagged)
	return name, nil
}

// annotations returns the name as Docker writes it into an index.
func (n imageName) annotations() map[string]string {
	annotations := map[string]string{}
	if n.full != "" {
		annotations[ocilayout.ContainerdName] = n.full
	}
	if n.tag != "" {
		annotations[v1.AnnotationRefName] = n.tag
	}
	return annotations
}
