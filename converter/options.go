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

// Options change what is written. Their zero value is format 1.
type Options struct {
	// Profile fixes how files are cut into blocks. Default: unixfs.V1.
	Profile unixfs.Profile

	// Compression is what layers that come as plain tars become. Default: Gzip.
	Compression blob.Compression

	// Level is the level of Gzip, 1 to MaxLevel. Default: that of format 1.
	// Another gives other addresses.
	Level int

	// Recompress has layers that come compressed treated as the tars that are
	// in them. Default: they are kept to the byte.
	Recompress bool

	// Image is the one image to take of a source that has several: a name, a digest,
	// or "@" and its position, from 0 on. Default: all.
	Image string

	// Platform has an index stand for the one image in it that is for that
	// platform. Default: the index stays, and so does all that it names.
	Platform *platform.Platform

	// Name and Tag are what to call the archive's one image instead of what the
	// archive calls it. Default: as the archive does.
	Name, Tag string

	// Onto is what the new root holds besides. Default: nothing.
	Onto *Base

	// CountReused has a Result say how much of it the destination had before,
	// where that has at most so many blobs: all of their leaf tables are read.
	// Default: it does not say.
	CountReused int

	// Progress is told of larger files while they are read. Default: nobody is.
	Progress blob.Progress

	// Logf reports what happens, a line a call. Default: nobody is told.
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

// workspace returns one in dir.
func (o Options) workspace(ctx context.Context, dir string) (*blob.Workspace, error) {
	if o.Level < 1 || o.Level > blob.MaxLevel {
		return nil, fmt.Errorf("level %d of gzip: it is from 1 to %d", o.Level, blob.MaxLevel)
	}
	return &blob.Workspace{
		Form:    blob.Form{Profile: o.Profile, Compression: o.Compression, Level: o.Level, Recompress: o.Recompress},
		Context: ctx, Dir: dir, Progress: o.Progress,
	}, nil
}

// base reads what the new root is to hold besides, if anything.
func (o Options) base(ctx context.Context) (*tree.Tree, error) {
	if o.Onto == nil {
		return nil, nil
	}
	return tree.ReadBase(ctx, o.Onto.From, o.Onto.Root, o.Progress)
}
