// Package verify checks images on IPFS against everything that is said of them: every
// block against its CID, every manifest, config and layer against its digest and
// size, and the content of a layer against the config.
//
// A CID proves only that the bytes are those that were published. They may still not
// be an image that a client accepts. So an image is right when its blocks are, and
// when everything in it that names something else is right about it, too.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Verifier verifies images in one place. After a fault it goes on with everything
// that the fault does not hide. Content that several images share is read once.
//
// It is for one goroutine. It reads blobs on all processors.
type Verifier struct {
	reporter
	from  origin.Origin
	logf  func(string, ...any)
	blobs *blobReader
}

// New returns a verifier of images in one place. It calls report for each fault, one
// at a time, and logf for what is missing and may be missing.
func New(from origin.Origin, report func(Fault), logf func(format string, args ...any)) *Verifier {
	return &Verifier{reporter: reporter{report: report}, from: from, logf: logf, blobs: newBlobReader(from)}
}

// Verify verifies images below a root. It returns nil if there was a fault. An error
// is the context's cause or ErrFaults.
func (v *Verifier) Verify(ctx context.Context, root cid.Cid, s origin.Selection) (*Verified, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := v.faults
	t := newRootCheck(v.from, root, s, func(f Fault) { v.fault(ctx, cancel, f) })
	t.list(ctx)
	t.follow(ctx)
	v.blobs.read(ctx, t)
	t.compare(ctx, v.logf)
	var verified *Verified
	if v.faults == before {
		verified = t.verified(ctx)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if v.faults > before {
		return nil, nil
	}
	return verified, nil
}

// Blocks verifies the blocks below a root that holds no images. It is like Verify
// otherwise.
func (v *Verifier) Blocks(ctx context.Context, root cid.Cid) (*Verified, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var size Size
	t, err := tree.Read(ctx, v.from, root, nil)
	if err == nil {
		err = t.WriteBlocks(ctx, func(b unixfs.Block) error {
			size.add(Size{1, int64(len(b.Data))})
			return nil
		})
	}
	if err != nil {
		v.fault(ctx, cancel, Fault{Root: root, CID: root, Err: err})
		return nil, context.Cause(ctx)
	}
	return &Verified{tree.Listing{Root: root}, []Size{size}}, nil
}

// Record checks what a store has recorded of a root against what is there.
func (v *Verifier) Record(ctx context.Context, s *store.Store, root cid.Cid) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := s.Record(root)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the image was removed
		return nil
	case err != nil:
		v.fault(ctx, cancel, Fault{Root: root, Err: err})
	}
	for _, img := range r.Images {
		if err := v.checkRecorded(ctx, root, img); err != nil {
			err = fmt.Errorf("the store's record says that %s:%s is %s, %s: %w", img.Name, img.Tag, img.Digest, img.MediaType, err)
			v.fault(ctx, cancel, Fault{Root: root, CID: root, Err: err})
		}
	}
	return context.Cause(ctx)
}

// checkRecorded returns an error if an image is not there as recorded.
func (v *Verifier) checkRecorded(ctx context.Context, root cid.Cid, recorded layout.Tagged) error {
	for _, reference := range []string{recorded.Digest.String(), recorded.Tag} {
		if reference == "" {
			continue
		}
		m, err := layout.FindManifest(ctx, v.from, layout.Image{Root: root, Name: recorded.Name}, reference)
		if err != nil {
			return err
		}
		if m.Digest != recorded.Digest || m.MediaType != recorded.MediaType {
			return fmt.Errorf("it is %s, %s", m.Digest, m.MediaType)
		}
	}
	return nil
}

// CAR verifies all blocks of a CAR file, including those that no image leads to.
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
