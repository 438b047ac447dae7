package converter

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Base is a root that images are put onto: the new root holds what the base holds,
// and the images.
type Base struct {
	From origin.Origin
	Root cid.Cid
}

// Options change what Convert writes. The zero value is format 1.
type Options struct {
	// Profile fixes how files are cut into blocks. Default: unixfs.V1.
	Profile unixfs.Profile

	// Compression is the form of layers that come as plain tars. Default: Gzip.
	Compression blob.Compression

	// Level is the level of Gzip, from 1 to blob.MaxLevel. Default: that of format 1.
	// Another level gives other addresses.
	Level int

	// Recompress aligns layers that come compressed, too, as if they had come as plain
	// tars. Their manifests change. Default: they are kept to the byte.
	Recompress bool

	// Image is the one image to take of a source that has several: a name, a digest,
	// or "@" and its position, from 0 on. Default: all.
	Image string

	// Platform is the platform of which images are taken, out of indexes too. Default:
	// all platforms.
	Platform *platform.Platform

	// Name and Tag replace the name and tag of the one image that the source has.
	// Default: as the source calls it.
	Name, Tag string

	// Onto is the base: a root whose images the new root holds as well. Default: none. A
	// destination that adds to a root of its own needs none.
	Onto *Base

	// Progress is told how far larger files have been read. Default: none.
	Progress blob.Progress

	// Logf reports what is left out or changed, one line a call. Default: none.
	Logf func(format string, args ...any)
}

// CopyOptions change what Copy writes. The zero value copies a root as it is.
type CopyOptions struct {
	// Profile fixes how directories are cut into blocks, with Onto alone. Default:
	// unixfs.V1.
	Profile unixfs.Profile

	Onto     *Base                            // as in Options
	Progress blob.Progress                    // as in Options
	Logf     func(format string, args ...any) // as in Options
}

// RepairOptions change what Repair writes.
type RepairOptions struct {
	// Profile fixes how manifests and directories are cut into blocks. Default:
	// unixfs.V1.
	Profile unixfs.Profile

	Progress blob.Progress                    // as in Options
	Logf     func(format string, args ...any) // as in Options
}

// form returns the form of the blobs that Convert makes.
func (o Options) form() blob.Form {
	return blob.Form{Profile: o.Profile, Compression: o.Compression, Level: o.Level, Recompress: o.Recompress}
}

// orSilent returns logf, or a function that reports nothing where it is nil.
func orSilent(logf func(format string, args ...any)) func(format string, args ...any) {
	if logf == nil {
		return func(string, ...any) {}
	}
	return logf
}

// read reads the base. It returns nil where there is none.
func (b *Base) read(ctx context.Context, p blob.Progress) (*tree.Tree, error) {
	if b == nil {
		return nil, nil
	}
	return tree.ReadBase(ctx, b.From, b.Root, p)
}
