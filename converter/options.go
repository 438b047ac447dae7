package converter

import (
	"context"
	"fmt"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Options change what is written. Their zero value is format 1.
type Options struct {
	// Profile fixes how files are cut into blocks. Default: unixfs.V1.
	Profile unixfs.Profile

	// Compression is what layers that come as plain tars become. Default: Gzip.
	Compression Compression

	// Level is the level of Gzip, 1 to MaxLevel. Default: that of format 1.
	// Another gives other addresses.
	Level int

	// Recompress has layers that come compressed treated as the tars that are
	// in them. Default: they are kept to the byte.
	Recompress bool

	// Platform has an index stand for the one image in it that is for that
	// platform. Default: the index stays, and so does all that it names.
	Platform *Platform

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
	Progress Progress

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

// ParseCompression returns the compression of that name.
func ParseCompression(name string) (Compression, error) {
	switch c := Compression(name); c {
	case Gzip, Uncompressed:
		return c, nil
	}
	return "", fmt.Errorf("unknown compression %q: use %s or %s", name, Gzip, Uncompressed)
}

func (o Options) withDefaults() Options {
	if o.Profile == (unixfs.Profile{}) {
		o.Profile = unixfs.V1
	}
	if o.Compression == "" {
		o.Compression = Gzip
	}
	if o.Level == 0 {
		o.Level = DefaultLevel
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return o
}

// workspace returns one in dir, having read what the new root is to hold
// besides.
func (o Options) workspace(ctx context.Context, dir string) (*workspace, error) {
	if o.Level < 1 || o.Level > MaxLevel {
		return nil, fmt.Errorf("level %d of gzip: it is from 1 to %d", o.Level, MaxLevel)
	}
	ws := &workspace{
		ctx: ctx, dir: dir, profile: o.Profile, logf: o.Logf, progress: o.Progress,
		compression: o.Compression, level: o.Level, recompress: o.Recompress,
	}
	if o.Onto == nil {
		return ws, nil
	}
	var err error
	ws.onto, err = o.Onto.read(ctx, o.Progress)
	return ws, err
}
