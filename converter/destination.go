package converter

import (
	"context"
	"errors"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Destination is where images go. It is for one Convert.
type Destination interface {
	// TempDir is where blobs wait until it is known what they are.
	TempDir() string

	// Commit puts the tree in place. After an error, the destination may have some of
	// the tree's files, but not its images.
	Commit(ctx context.Context, t *tree.Tree) error

	// Close removes temporary files. It must be called in the end.
	Close() error
}

// A streamer is a destination that takes leaves while layers are still compressed,
// before it is known what they are for.
type streamer interface {
	PutEarly(ctx context.Context, leaf unixfs.Block) error
}

// A counter is a destination that knows which leaves it has.
type counter interface {
	// Reused returns how many bytes of the tree's blobs are in leaves that the
	// destination has, or that the tree has more than once; -1 where it does not
	// count them.
	Reused(ctx context.Context, t *tree.Tree) (int64, error)
}

// An adder is a destination that adds images to a root of its own: the directories of the
// tree do not count, nor do aliases.
type adder interface {
	// CheckName returns an error for a name that no image of the root can have.
	CheckName(name string) error

	// Addresses returns the root as it is after Commit, and for each image of the tree
	// the root of a directory that holds its repository alone.
	Addresses() (root cid.Cid, alone []cid.Cid)
}

// checkAdded returns a *NameError for an image that cannot be added to the root of dst.
func checkAdded(dst adder, images []layout.Tagged) error {
	for _, img := range images {
		if err := dst.CheckName(img.Name); err != nil {
			return &NameError{img.Name, err}
		}
	}
	return nil
}

// A Result says where images are now.
type Result struct {
	tree.Listing

	Sizes []int64 // bytes that a client pulls, for each of the images

	// Bytes is how many bytes the blobs of the whole root have. Reused is how many
	// of them are in leaves that the destination had before, or that the root has
	// more than once; -1 where that is not known. The other bytes are new: each leaf
	// once, as IPFS keeps and sends it.
	Bytes, Reused int64

	// Compressed is how many layers of images came compressed and were kept as they
	// are. New versions share little with them; Options.Recompress changes that.
	Compressed int
}

// commit puts a tree where it belongs.
func commit(ctx context.Context, dst Destination, t *tree.Tree) (*Result, error) {
	r := &Result{Listing: t.Listing(), Sizes: t.Sizes(ctx), Reused: -1}
	for _, b := range t.Blobs() {
		r.Bytes += b.Size()
	}
	if dst, ok := dst.(counter); ok {
		var err error
		if r.Reused, err = dst.Reused(ctx, t); err != nil {
			return nil, err
		}
	}
	err := dst.Commit(ctx, t)
	if dst, ok := dst.(adder); ok && err == nil {
		r.Root, r.Alone = dst.Addresses()
	}
	return r, err
}

// sendEarly has the leaves of aligned layers sent to dst as they are made, if dst wants
// them. A layer that comes as a plain tar is nearly always wanted in that form.
func sendEarly(ws *blob.Workspace, dst Destination) {
	s, ok := dst.(streamer)
	if !ok || ws.Profile.NewTable().Wrapped { // whose leaves end elsewhere
		return
	}
	ws.Early = func(leaf unixfs.Block) error {
		if err := s.PutEarly(ws.Context, leaf); err != nil {
			return earlyError{err}
		}
		return nil
	}
}

// An earlyError is the error of a streamer. It has nothing to do with the entry of the
// archive that was read meanwhile.
type earlyError struct{ error }

func (e earlyError) Unwrap() error { return e.error }

// withoutEntry takes the entry of the archive out of the error of a streamer.
func withoutEntry(err error) error {
	if e, ok := errors.AsType[earlyError](err); ok {
		return e.error
	}
	return err
}
