// Package verify holds images on IPFS against everything that is said of them: every
// block against its CID, every manifest, config and layer against its digest and
// size, and what is in a layer against the config.
//
// A CID only says that bytes are those that somebody put there. What they put there
// may still be no image that a client takes. So an image is right when its blocks
// are, and when all that names something in it is right about that, too.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A Fault is one thing that is wrong with an image on IPFS.
type Fault struct {
	Root cid.Cid // undefined where it is none of one root
	Path string  // below the root; empty where it is the root, or anywhere
	CID  cid.Cid // of what is there; undefined where that is nothing
	Err  error
}

// Error names the thing, and says what is wrong with it.
func (f Fault) Error() string {
	at := f.Path
	if f.Root.Defined() {
		at = path.Join(origin.Address(f.Root), f.Path)
	}
	if f.CID.Defined() {
		at += " (" + f.CID.String() + ")"
	}
	return at + ": " + f.Err.Error()
}

func (f Fault) Unwrap() error { return f.Err }

// maxFaults is how many faults are reported. Who has as many needs no more.
const maxFaults = 100

// ErrFaults says that there may be more faults than those that were reported.
var ErrFaults = fmt.Errorf("stopped after %d faults", maxFaults)

// A Verifier verifies images: every block against its CID, every manifest,
// config and layer against its digest, and all of them against one another. It
// goes on after a fault with whatever that does not hide. Of what several images
// share, it reads the content once.
//
// It is for one goroutine, but reads blobs on all processors.
type Verifier struct {
	from   origin.Origin
	report func(Fault)
	logf   func(string, ...any)

	mu     sync.Mutex
	faults int
	blobs  map[string]*blobReport // by CID
}

// New returns a verifier of images in one place. It hands every fault to
// report, one after another, and tells logf of what is missing but may be.
func New(from origin.Origin, report func(Fault), logf func(format string, args ...any)) *Verifier {
	return &Verifier{from: from, report: report, logf: logf, blobs: map[string]*blobReport{}}
}

// Faults returns how many there were.
func (v *Verifier) Faults() int { return v.faults }

// Verified is what was found right.
type Verified struct {
	tree.Listing
	Sizes []Size // of the images
}

// A Size is how much was read of an image.
type Size struct {
	Blocks int
	Bytes  int64
}

func (s *Size) add(other Size) {
	s.Blocks += other.Blocks
	s.Bytes += other.Bytes
}

// Verify verifies images below a root. Where there was a fault, it returns nil.
// An error is that of the context, or ErrFaults.
func (v *Verifier) Verify(ctx context.Context, root cid.Cid, s origin.Selection) (*Verified, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := v.faults
	t := newTreeCheck(ctx, cancel, v, root, s)
	t.directory("", root)
	t.start()
	t.readContents()
	t.compare()
	var verified *Verified
	if v.faults == before {
		verified = t.images()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if v.faults > before {
		return nil, nil
	}
	return verified, nil
}

// fault reports a fault, unless it is only that the context is done.
func (v *Verifier) fault(ctx context.Context, cancel context.CancelCauseFunc, f Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	v.report(f)
	if v.faults++; v.faults >= maxFaults {
		cancel(ErrFaults)
	}
}

// Record holds what a store has noted about a root against what is there.
func (v *Verifier) Record(ctx context.Context, s *store.Store, root cid.Cid) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := s.Record(root)
	switch {
	case errors.Is(err, os.ErrNotExist): // converter rm took it away
		return nil
	case err != nil:
		v.fault(ctx, cancel, Fault{Root: root, Err: err})
	}
	for _, img := range r.Images {
		if err := v.verifyNoted(ctx, root, img); err != nil {
			err = fmt.Errorf("the store's record says that %s:%s is %s, %s: %w", img.Name, img.Tag, img.Digest, img.MediaType, err)
			v.fault(ctx, cancel, Fault{Root: root, CID: root, Err: err})
		}
	}
	return context.Cause(ctx)
}

// verifyNoted reports whether an image is there as noted.
func (v *Verifier) verifyNoted(ctx context.Context, root cid.Cid, noted store.Image) error {
	for _, reference := range []string{noted.Digest.String(), noted.Tag} {
		if reference == "" {
			continue
		}
		img, err := origin.Selection{Name: noted.Name, Reference: reference}.Image(ctx, v.from, root)
		if err != nil {
			return err
		}
		if img.Digest != noted.Digest || img.MediaType != noted.MediaType {
			return fmt.Errorf("it is %s, %s", img.Digest, img.MediaType)
		}
	}
	return nil
}

// CAR verifies all blocks of a CAR file, those too that no image leads to.
func (v *Verifier) CAR(ctx context.Context, path string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the CAR file: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	err = car.Verify(ctx, f, size, func(c cid.Cid, err error) {
		v.fault(ctx, cancel, Fault{Path: path, CID: c, Err: err})
	})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("reading %s: %w", path, err)
	}
	return err
}
