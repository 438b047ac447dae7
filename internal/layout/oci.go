package layout

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// An ociLayout is an OCI image layout, as skopeo, `docker save` since 25 and
// oci-registry-p2p make it.
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
type ociLayout struct {
	Image
	tagged map[string]digest.Digest
	only   digest.Digest // of the manifest or index, if there is just one
}

// containerdName is the annotation with the full name of an image in Docker or
// containerd.
const containerdName = "io.containerd.image.name"

// maxTags is how many tags an index has at most.
const maxTags = 2048

func detectOCI(ctx context.Context, tree Tree, img Image) (shape, error) {
	data, err := tree.ReadFile(ctx, img.Root, path.Join(img.Name, v1.ImageIndexFile), MaxManifest)
	if err != nil {
		return nil, err
	}
	done, err := budget.Turn(ctx, len(data))
	if err != nil {
		return nil, err
	}
	leads, err := parseDocument(data)
	done()
	if err != nil || len(leads.Manifests) == 0 {
		return nil, unknownForm(v1.ImageIndexFile + " is not that of an OCI layout")
	}
	f := ociLayout{Image: img, tagged: map[string]digest.Digest{}, only: leads.Manifests[0].Digest}
	several := map[string]bool{}
	for _, d := range leads.Manifests {
		if d.Digest != f.only {
			f.only = ""
		}
		tag := tagOf(d)
		if tag == "" {
			continue
		}
		if before, known := f.tagged[tag]; known && before != d.Digest {
			several[tag] = true // and nothing says which of them is meant
		}
		if f.tagged[tag] = d.Digest; len(f.tagged) > maxTags {
			return nil, invalidError(fmt.Sprintf("more than %d tags in %s", maxTags, v1.ImageIndexFile))
		}
	}
	maps.DeleteFunc(f.tagged, func(tag string, _ digest.Digest) bool { return several[tag] })
	return f, nil
}

// tagOf returns the tag of a descriptor in an index, empty if it has none. Some programs
// write the full name of the image there.
func tagOf(d v1.Descriptor) string {
	for _, annotation := range []string{v1.AnnotationRefName, containerdName} {
		name := d.Annotations[annotation]
		if tag := name[strings.LastIndexByte(name, ':')+1:]; CheckTag(tag) == nil {
			return strings.Clone(tag) // of a name that may be as long as an index
		}
	}
	return ""
}

// Manifest implements shape.
func (f ociLayout) Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error) {
	d := digest.Digest(reference)
	if !IsDigest(reference) {
		var ok bool
		if d, ok = f.tagged[reference]; !ok && reference == Latest {
			d = f.only
		}
		if d == "" {
			return Manifest{}, fmt.Errorf("%s has no tag %s: %w", v1.ImageIndexFile, reference, fs.ErrNotExist)
		}
	}
	at, err := f.Blob(ctx, tree, d)
	if err != nil {
		return Manifest{}, err
	}
	return readAs(ctx, tree, at, d)
}

// Blob implements shape.
func (f ociLayout) Blob(_ context.Context, _ Tree, d digest.Digest) (Place, error) {
	return Place{Root: f.Root, Path: path.Join(f.Name, v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())}, nil
}

// Tags implements shape. The only image of a layout is found as latest, but that is not one
// of its tags.
func (f ociLayout) Tags(context.Context, Tree) ([]string, error) {
	return slices.Sorted(maps.Keys(f.tagged)), nil
}
