package layout

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
)

// A Place is where on IPFS a file is.
type Place = ipfspath.Place

// Place is the directory of an image, or the file that is one.
func (img Image) Place() Place { return Place{Root: img.Root, Path: img.Name} }

// A Form is the way in which an image lies on IPFS. What is below a CID never
// changes, so a form may be remembered for ever. Its methods may be called
// concurrently, with any tree that has the image.
type Form struct {
	image Image
	shape
}

type shape interface {
	// Manifest reads the manifest of a tag or digest. Where there is none, the
	// error is fs.ErrNotExist. What is found by digest has that digest.
	Manifest(ctx context.Context, tree Tree, reference string) (Manifest, error)

	// Blob returns where the blob of a digest is, if there is one.
	Blob(ctx context.Context, tree Tree, d digest.Digest) (Place, error)

	// Tags returns the tags of the image, sorted, and no aliases.
	Tags(ctx context.Context, tree Tree) ([]string, error)
}

// Native returns the form that is the first to be tried: that of format 1, and
// of ipdr since 0.1.7. It takes nothing to be read.
func Native(img Image) Form { return Form{img, directory{img}} }

// IsNative reports whether blobs are where BlobPath says, in the image's own
// directory.
func (f Form) IsNative() bool {
	_, is := f.shape.(directory)
	return is
}

// Detect finds out which form an image has. Where it has none that is known, the
// error is fs.ErrNotExist.
//
// One listing tells most forms that are directories apart, a second one those with
// manifests, and one small file all others.
func Detect(ctx context.Context, tree Tree, img Image) (Form, error) {
	entries, err := tree.ReadDir(ctx, img.Root, img.Name)
	if err != nil {
		return Form{}, err
	}
	var s shape
	switch {
	case entries == nil && img.Name == "":
		s, err = detectLinked(ctx, tree, img.Root)
	case has(entries, manifests):
		s, err = detectDirectory(ctx, tree, img)
	case has(entries, v1.ImageIndexFile):
		s, err = detectOCI(ctx, tree, img)
	case has(entries, discoFile):
		s, err = detectDisco(ctx, tree, img)
	default:
		err = unknownForm("there is no image in a form that is known")
	}
	return Form{img, s}, err
}

// unknownForm is the error for what is no image.
func unknownForm(why string) error { return fmt.Errorf("%s: %w", why, fs.ErrNotExist) }

// Referrers returns the descriptors of the manifests that have a digest for their
// subject, as the image's directory says, and the tag by which clients say it
// that know of no referrers. Where neither is there, the error is fs.ErrNotExist;
// where one of them cannot be known, it is not taken for absent.
func (f Form) Referrers(ctx context.Context, tree Tree, d digest.Digest) ([]v1.Descriptor, error) {
	index, err := Manifest{}, fs.ErrNotExist
	if f.IsNative() {
		index, err = readManifest(ctx, tree, Place{Root: f.image.Root, Path: ReferrersPath(f.image.Name, d)})
	}
	all, err := indexed(index, err)
	if err != nil && !isAbsent(err) {
		return nil, err
	}
	tagged, alias := indexed(f.Manifest(ctx, tree, fallbackTag(d)))
	switch {
	case alias != nil && !isAbsent(alias):
		return nil, alias
	case alias != nil && err != nil:
		return nil, missing(err, alias)
	}
	known := make(map[digest.Digest]bool, len(all))
	for _, desc := range all {
		known[desc.Digest] = true
	}
	for _, desc := range tagged {
		if !known[desc.Digest] {
			all = append(all, desc)
		}
	}
	return all, nil
}

// fallbackTag is the tag of the referrers of a digest where there is no API.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
func fallbackTag(d digest.Digest) string {
	return fmt.Sprintf("%.32s-%.64s", d.Algorithm(), d.Encoded())
}

// indexed returns what an index names, if there is one.
func indexed(index Manifest, err error) ([]v1.Descriptor, error) {
	if err != nil {
		return nil, err
	}
	if index.MediaType != v1.MediaTypeImageIndex {
		return nil, fmt.Errorf("%s is no index: %w", index.At, fs.ErrNotExist)
	}
	leads, err := parseDocument(index.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index.At, err)
	}
	return leads.Manifests, nil
}
