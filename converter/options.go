package converter

import (
	"context"
	"fmt"

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

// Options change what Convert writes. Their zero value is format 1.
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

	// Onto is the base: a root whose images the new root holds as well. Default: none.
	Onto *Base

	// CountReused is the most blobs in a destination for which a Result says how much
	// of the images was there before. It takes reading all of their leaf tables.
	// Default: the Result does not say it.
	CountReused int

	// Progress is told how far larger files have been read. Default: none.
	Progress blob.Progress

	// Logf reports what is left out or changed, one line a call. Default: none.
	Logf func(format string, args ...any)
}

func (o Options) withDefaults() Options {
	if o.Profile == (unixfs.Profile{}) {
		o.Profile = unixfs.V1
	}
	if o.Compression == "" {
		o.Compression = blob.Gzip
	}
	if o.Level == 0 {
		o.Level = blob.DefaultLevel
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return o
}

// workspace returns a workspace in dir.
func (o Options) workspace(ctx context.Context, dir string) (*blob.Workspace, error) {
	if o.Level < 1 || o.Level > blob.MaxLevel {
		return nil, fmt.Errorf("gzip has no level %d: use one from 1 to %d", o.Level, blob.MaxLevel)
	}
	return &blob.Workspace{
		Form:    blob.Form{Profile: o.Profile, Compression: o.Compression, Level: o.Level, Recompress: o.Recompress},
		Context: ctx, Dir: dir, Progress: o.Progress,
	}, nil
}

// base reads the base. It returns nil where there is none.
func (o Options) base(ctx context.Context) (*tree.Tree, error) {
	if o.Onto == nil {
		return nil, nil
	}
	return tree.ReadBase(ctx, o.Onto.From, o.Onto.Root, o.Progress)
}
