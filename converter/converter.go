// Package converter turns container images into directories on IPFS, in format 1.
//
// Images come from a Source. Package source reads archives, OCI layouts, a running
// Docker and registries, and package blob makes a blob of every file as it comes: the
// manifest of an archive may stand last, so what a file is for is known only then. A
// large file is nearly always a layer, so it is compressed at once and waits in the
// destination's temporary directory. If it is needed in another form, it is read again
// from there. Memory does not grow with the image.
//
// This package decides which images are wanted, reads their manifests, writes new ones
// where an archive has none of its own, and makes a tree of files (package tree), which
// a destination (package destination) puts in its place. Package origin reads what is
// on IPFS already. Packages inspect and verify describe and check it, and package export
// writes it back into an archive.
//
// An image is published, pinned or reported only after every file was read and matched
// the manifests and configs.
//
// The same archive with the same options gives the same root everywhere: no time,
// name, path or environment enters what is written. That is format 1, and it is frozen:
// where layers are cut, what the encoder makes of each piece, how manifests and
// directories are written, and how files become blocks. TestGoldenRoots checks it.
// Anything that gives other roots is an option.
//
// The words of this code:
//
//   - leaf: a block with bytes of a file. A large file has many, and nodes above them.
//   - leaf table: the list of a file's leaves, each with its CID, offset and length.
//   - aligned: cut and compressed at the boundaries of the files in the layer's tar, so
//     that equal files give equal leaves in every version.
//   - member: a gzip stream of its own within a file. Each leaf of an aligned layer is one.
//   - index: a manifest that names other manifests, usually one for each platform.
//   - referrer: a manifest that is about another one, its subject: a signature, say.
//   - alias: a second name of a manifest, such as latest, which is not a tag of its own.
//   - root: the CID of a directory of images. Base: a root that new images are added to.
//   - place: a store, a Kubo node, a CAR file or gateways. Images are read from an
//     origin there, and written to a destination.
package converter

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
)

// Convert reads the images of src and puts them to dst. When it fails, dst was not
// told of any image.
func Convert(ctx context.Context, src source.Source, dst Destination, o Options) (*Result, error) {
	o.Logf = orSilent(o.Logf)
	w := want{image: o.Image, platform: o.Platform, as: ref{o.Name, o.Tag}}
	if err := w.check(src.Image()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ws, err := blob.NewWorkspace(ctx, dst.TempDir(), o.form(), o.Progress)
	if err != nil {
		return nil, err
	}
	base, err := o.Onto.read(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	sendEarly(ws, dst)
	layout, err := src.Open(ws)
	if err != nil {
		return nil, withoutEntry(err)
	}
	for _, note := range layout.Notes {
		o.Logf("%s", note)
	}
	images, err := newReader(layout, ws, w, o.Logf).images()
	if err != nil {
		return nil, err
	}
	t, err := newTree(images, ws)
	if err != nil {
		return nil, err
	}
	if dst, ok := dst.(adder); ok {
		err = checkAdded(dst, t.Images)
	} else {
		err = t.Finish(ws, base, o.Logf)
	}
	if err != nil {
		return nil, err
	}
	result, err := commit(ctx, dst, t)
	if result != nil && !o.Recompress {
		result.Compressed = compressedLayers(images)
	}
	return result, err
}

// compressedLayers counts the layers that are kept compressed as they came.
func compressedLayers(images []*image) int {
	all := map[digest.Digest]bool{}
	for _, img := range images {
		for d := range img.compressed {
			all[d] = true
		}
	}
	return len(all)
}
