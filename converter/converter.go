// Package converter turns image archives into images on IPFS.
//
// An archive is read once, from front to end, since it comes from a pipe and
// may be larger than the disk. Its manifest may stand last, so what each entry
// is for is known only then. A layer is nearly always what a large entry is:
// entries are compressed as they come, wait in the destination's temporary
// directory, and what was compressed wrongly is put right from there. Nothing
// uncompressed is written to disk, and memory does not grow with the image.
//
// Nothing is published, pinned or reported before the whole archive was read
// and everything in it found to be what the manifests and configs say.
//
// The same archive with the same options gives the same root everywhere: no
// time, name, path or environment enters what is written.
package converter

import (
	"context"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Options change what is written. Their zero value is format 1.
type Options struct {
	// Profile fixes how files are cut into blocks. Default: unixfs.V1.
	Profile unixfs.Profile

	// Compression is what layers that come as plain tars become. Default: Gzip.
	Compression Compression

	// Level is the level of Gzip, 1 to 9. Default: that of format 1. Another
	// gives other addresses.
	Level int

	// Recompress has layers that come compressed treated as the tars that are
	// in them. Default: they are kept to the byte.
	Recompress bool

	// Name and Tag are what to call the archive's one image instead of what the
	// archive calls it. Default: as the archive does.
	Name, Tag string

	// Logf reports what happens, a line a call. Default: nobody is told.
	Logf func(format string, args ...any)
}

// A Compression is a form of layers.
type Compression string

const (
	// Gzip compresses layers in pieces, each a leaf.
	Gzip Compression = "gzip"

	// Uncompressed keeps layers as the tars that they are, cut at the same places.
	Uncompressed Compression = "none"
)

// A Result says where the images of an archive are now.
type Result struct {
	Root   cid.Cid
	Images []Image // in the archive's order
}

// An Image is one reference of a Result.
type Image struct {
	Name      string // below the root; empty where the root is the image
	Tag       string // empty for an untagged image
	MediaType string
	Digest    digest.Digest
}

// Convert reads the image archive r, as `docker save` writes it, to its end and
// puts its images to dst. When it fails, dst was not told of any image.
func Convert(ctx context.Context, r io.Reader, dst Destination, o Options) (*Result, error) {
	if o.Profile == (unixfs.Profile{}) {
		o.Profile = unixfs.V1
	}
	if o.Compression == "" {
		o.Compression = Gzip
	}
	if o.Level == 0 {
		o.Level = level
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if err := checkRef(ref{o.Name, o.Tag}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ws := &workspace{ctx: ctx, dir: dst.TempDir(), profile: o.Profile, compression: o.Compression, level: o.Level, recompress: o.Recompress}
	a, err := readArchive(r, ws, o.Logf)
	if err != nil {
		return nil, err
	}
	images, err := a.images(ref{o.Name, o.Tag})
	if err != nil {
		return nil, err
	}
	tree, err := newTree(images, ws)
	if err != nil {
		return nil, err
	}
	if err := dst.Commit(ctx, tree); err != nil {
		return nil, err
	}
	return &Result{tree.Root.CID, tree.Images}, nil
}

// References returns what to pull: one reference for each image of the result,
// from the registry host. Where there is only one, the tag is left out, since
// its manifest goes by the name latest as well.
func (r *Result) References(host string) ([]string, error) {
	address, err := cidname.Format(r.Root)
	if err != nil {
		return nil, fmt.Errorf("naming the result: %w", err)
	}
	references := make([]string, len(r.Images))
	for i, img := range r.Images {
		ref := host + "/" + address
		if img.Name != "" {
			ref += "/" + img.Name
		}
		switch {
		case len(r.Images) == 1:
		case img.Tag != "":
			ref += ":" + img.Tag
		default:
			ref += "@" + img.Digest.String()
		}
		references[i] = ref
	}
	return references, nil
}
