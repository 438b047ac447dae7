// Package converter turns container images into images on IPFS.
//
// They come from a Source: an archive, a running Docker, an OCI layout, a
// registry. An archive is read once, from front to end, since it comes from a pipe and
// may be larger than the disk. Its manifest may stand last, so what each entry
// is for is known only then. A layer is nearly always what a large entry is:
// entries are compressed as they come, wait in the destination's temporary
// directory, and what was compressed wrongly is put right from there. Nothing
// uncompressed is written to disk, and memory does not grow with the image. Of a
// layout or a registry, what the wanted manifests lead to is read, and no more.
//
// So here is what manifests mean: which there are, which are made up for an archive
// and which keep their bytes, and what all of them lead to. Package blob makes blobs
// of what comes, package tree a directory of images, and package destination puts
// that where images are kept. What is on IPFS already is read by package origin, to
// be copied, and looked into by packages inspect and verify; package export is the
// way back.
//
// Nothing is published, pinned or reported before everything was read and found
// to be what the manifests and configs say.
//
// The same archive with the same options gives the same root everywhere: no
// time, name, path or environment enters what is written. That is format 1, and it
// is frozen: where pieces are cut, what the encoder makes of them, how manifests and
// directories are written and how files are laid out as blocks stay as they are, and
// TestGoldenRoots says so. Whatever gives other roots is another format, and an
// option.
package converter

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
)

// Convert reads the images of src and puts them to dst. When it fails, dst was not
// told of any image.
func Convert(ctx context.Context, src source.Source, dst Destination, o Options) (*Result, error) {
	o = o.withDefaults()
	w := want{image: o.Image, platform: o.Platform, as: ref{o.Name, o.Tag}}
	if err := w.check(src.Image()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ws, err := o.workspace(ctx, dst.TempDir())
	if err != nil {
		return nil, err
	}
	base, err := o.base(ctx)
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
	if err := t.Finish(ws, base, o.Logf); err != nil {
		return nil, err
	}
	result, err := commit(ctx, dst, t, o)
	if result != nil && !o.Recompress {
		result.Compressed = compressedLayers(images)
	}
	return result, err
}

// check refuses names that no client could pull, before anything is read: the new
// name, and the one under which a source was asked for an image.
func (w want) check(asked string) error {
	if err := checkRef(w.as); err != nil {
		return &NameError{w.as.String(), err}
	}
	if asked == "" {
		return nil
	}
	_, err := readName(asked).renamed(w.as)
	return err
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
