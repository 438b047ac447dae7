package layout

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Form is the way in which an image is kept on IPFS. Content below a CID never changes,
// so a form may be remembered for ever. Its methods may be called concurrently, with any
// tree that has the image.
type Form struct {
	image Image
	shape
}

// Native returns the form of format 1, and of ipdr since 0.1.7, without reading anything.
func Native(img Image) Form { return Form{img, newNativeDir(img)} }

// Literal returns the form of an image of a store's own root, without reading anything: format
// 1 without aliases.
func Literal(img Image) Form { return Form{img, nativeDir{Image: img, literal: true}} }

// IsNative reports whether blobs are where BlobPath says, in the image's own
// directory.
func (f Form) IsNative() bool {
	_, is := f.shape.(nativeDir)
	return is
}

// Detect returns the form of an image. The error is fs.ErrNotExist if the image has no
// known form.
//
// Listing the image's directory tells most forms apart; forms with a directory of manifests
// take a second listing, and all others one small file.
func Detect(ctx context.Context, tree Tree, img Image) (Form, error) {
	entries, err := tree.ReadDir(ctx, img.Root, img.Name)
	if err != nil {
		return Form{}, err
	}
	var s shape
	switch {
	case entries == nil && img.Name == "":
		s, err = detectLinked(ctx, tree, img.Root)
	case hasEntry(entries, manifests):
		s, err = detectDirectory(ctx, tree, img)
	case hasEntry(entries, v1.ImageIndexFile):
		s, err = detectOCI(ctx, tree, img)
	case hasEntry(entries, discoFile):
		s, err = detectDisco(ctx, tree, img)
	default:
		err = unknownForm("there is no image in a form that is known")
	}
	return Form{img, s}, err
}

// Referrers returns the descriptors of the manifests whose subject has a digest. They are
// in an index of the image's directory, and in one under the tag that clients write which do
// not know the API. If neither exists, the error is fs.ErrNotExist. If the tree lacks one of
// them, that index is not taken for absent.
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

// fallbackTag returns the tag of the referrers of a digest for clients without the API.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
func fallbackTag(d digest.Digest) string {
	return fmt.Sprintf("%.32s-%.64s", d.Algorithm(), d.Encoded())
}

// indexed returns the descriptors of an index that was read, or the error of reading it.
func indexed(index Manifest, err error) ([]v1.Descriptor, error) {
	if err != nil {
		return nil, err
	}
	if index.MediaType != v1.MediaTypeImageIndex {
		return nil, fmt.Errorf("%s is not an index: %w", index.At, fs.ErrNotExist)
	}
	leads, err := parseDocument(index.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index.At, err)
	}
	return leads.Manifests, nil
}
