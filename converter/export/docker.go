package export

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

// A dockerImage is an image that Docker's list, manifest.json, can name. The list
// is all that Docker's classic image store and many a program read, and knows no
// platforms: for an index it names one of the images in it.
type dockerImage struct {
	platform.Platform
	ocilayout.DockerEntry
}

// addToList names, in Docker's list, one of the images that a manifest or index
// stands for: this machine's, or the only one.
func (e *exporter) addToList(img origin.Image, images []dockerImage, name imageName) {
	if len(images) == 0 { // an artifact
		return
	}
	chosen := &images[0]
	if len(images) > 1 {
		chosen = ours(images)
	}
	if chosen == nil {
		e.Logf("%s has no image for %s/%s, so Docker's classic image store will find none: there is %s, and --platform chooses",
			e.call(img), runtime.GOOS, runtime.GOARCH, somePlatforms(platforms(images)))
		return
	}
	entry := chosen.DockerEntry
	i := slices.IndexFunc(e.docker, func(other ocilayout.DockerEntry) bool {
		return other.Config == entry.Config && slices.Equal(other.Layers, entry.Layers)
	})
	if i < 0 {
		i = len(e.docker)
		e.docker = append(e.docker, entry)
	}
	if name.familiar != "" {
		e.docker[i].RepoTags = append(e.docker[i].RepoTags, name.familiar)
	}
}

// ours returns the image that runs here, or in the Linux that containers run in
// here.
func ours(images []dockerImage) *dockerImage {
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

// An imageName is what programs are to call an image. It is empty for an
// untagged one.
type imageName struct{ full, familiar, tag string }

// exportedName returns the name of an image as containerd and as people write
// it. Where the root is the image, it has a tag alone.
func exportedName(img origin.Image) (imageName, error) {
	name := imageName{tag: img.Tag}
	if img.Name == "" || img.Tag == "" {
		return name, nil
	}
	named, err := reference.ParseNormalizedNamed(img.Name)
	if err != nil {
		return name, fmt.Errorf("no program can call an image that: %w", err)
	}
	tagged, err := reference.WithTag(named, img.Tag)
	if err != nil {
		return name, fmt.Errorf("no program can call an image that: %w", err)
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

func somePlatforms(all []platform.Platform) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.String()
	}
	return alternatives.List(names)
}
