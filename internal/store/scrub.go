package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Scrub reads the blobs and nodes of a store, and takes files out of service whose
// content does not have the digest in their name, so that they are not served. A cached
// file is removed. A kept file is renamed, with Rotten at the end of its name, and stays
// until the next Collect of a store without damaged images.
type Scrub struct {
	Kept, Cached bool // which files it reads

	// Read is called before n bytes are read, and may wait. The scrub ends with its
	// first error. Read may be nil.
	Read func(n int) error

	// Found is called for each file that is wrong. The error is nil if the file was
	// taken out of service.
	Found func(path string, err error)
}

// Rotten is the end of the name of a file that a scrub put aside.
const Rotten = ".rotten"

// Scrub scrubs the store. The error says which files could not be read.
func (s *Store) Scrub(ctx context.Context, do Scrub) error {
	x := scrub{Scrub: do, ctx: ctx, store: s}
	if x.Read == nil {
		x.Read = func(int) error { return nil }
	}
	var err error
	if do.Kept {
		err = x.shelf(s.shelf, x.putAside)
	}
	if do.Cached {
		err = errors.Join(err, x.shelf(s.cached, s.cached.remove))
	}
	return err
}

type scrub struct {
	Scrub
	ctx   context.Context
	store *Store
}

// putAside takes a kept file out of service.
func (x *scrub) putAside(path string) error {
	lock, err := x.store.lock(x.ctx, exclusive)
	if err != nil {
		return err
	}
	defer release(lock)
	return x.store.rename(path, path+Rotten)
}

// shelf reads the blobs and nodes of a shelf.
func (x *scrub) shelf(sh shelf, takeAway func(path string) error) error {
	var unread []error
	visit := func(it item) error {
		right, err := x.isRight(sh, it)
		switch {
		case x.ctx.Err() != nil:
			return context.Cause(x.ctx)
		case errors.Is(err, fs.ErrNotExist): // it was removed meanwhile
		case err != nil:
			unread = append(unread, err)
		case !right:
			x.Found(it.path, takeAway(it.path))
		}
		return nil
	}
	err := errors.Join(sh.each(x.ctx, visit, blobs), sh.each(x.ctx, visit, nodes))
	return errors.Join(err, errors.Join(unread...))
}

// isRight reports whether a file has the digest in its name. A file whose name is not
// one that a store gives is right.
func (x *scrub) isRight(sh shelf, it item) (bool, error) {
	d, isBlob := it.blob()
	c, isNode := it.cid()
	if !isBlob && !isNode {
		return true, nil
	}
	f, err := sh.open(it.path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r := slow{f, x.Read}
	right := false
	if isBlob {
		var got digest.Digest
		got, err = d.Algorithm().FromReader(r)
		right = got == d
	} else {
		var data []byte
		data, err = io.ReadAll(io.LimitReader(r, unixfs.MaxBlock+1))
		right = (unixfs.Block{CID: c, Data: data}).Verify() == nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", it.path, err)
	}
	return right, nil
}

// A slow reader calls before ahead of each read, and fails with its error.
type slow struct {
	io.Reader
	before func(n int) error
}

func (s slow) Read(b []byte) (int, error) {
	if err := s.before(len(b)); err != nil {
		return 0, err
	}
	return s.Reader.Read(b)
}
