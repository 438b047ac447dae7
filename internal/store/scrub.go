package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Scrub reads what a store has, and takes out of service what is not what its
// name says: so it is fetched again, or missed, but not served. What was cached
// is removed. What is kept is somebody's, and only put aside, with Rotten at the
// end of its name, until the next Collect of a store where nothing is lacking.
type Scrub struct {
	Kept, Cached bool // which of them

	// Read is told of bytes before they are read, and may wait. Its error ends the
	// scrub. It may be nil.
	Read func(n int) error

	// Found is called for each file that is wrong. The error is nil if the file was
	// taken out of service.
	Found func(path string, err error)
}

// Rotten is how names end of what a scrub put aside.
const Rotten = ".rotten"

// Scrub does so. An error is about what could not be read.
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
		err = errors.Join(err, x.shelf(s.cached, os.Remove))
	}
	return err
}

// Disks forget, seldom. So a store that is in use is read once a week, so slowly
// that nobody notices.
const (
	scrubFirst = time.Hour
	scrubAgain = 7 * 24 * time.Hour
	scrubRate  = 4 << 20 // bytes a second
)

// scrubAgainAndAgain reads the whole store once a week, until ctx is done.
func (c *Cache) scrubAgainAndAgain(ctx context.Context) {
	for wait := scrubFirst; sleep(ctx, wait) == nil; wait = scrubAgain {
		c.scrub(ctx)
	}
}

// scrub reports what it finds to the configuration of that moment.
func (c *Cache) scrub(ctx context.Context) {
	err := c.store.Scrub(ctx, Scrub{
		Kept:   true,
		Cached: true,
		Read:   func(n int) error { return sleep(ctx, time.Duration(n)*time.Second/scrubRate) },
		Found: func(path string, err error) {
			if rotten := c.now().Rotten; rotten != nil {
				rotten(path, err)
			}
		},
	})
	if failed := c.now().ScrubFailed; err != nil && ctx.Err() == nil && failed != nil {
		failed(err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type scrub struct {
	Scrub
	ctx   context.Context
	store *Store
}

func (x *scrub) putAside(path string) error {
	lock, err := x.store.lock(x.ctx, exclusive)
	if err != nil {
		return err
	}
	defer release(lock)
	return os.Rename(path, path+Rotten)
}

func (x *scrub) shelf(sh shelf, goes func(path string) error) error {
	err := eachDir(filepath.Join(sh.dir, "blobs"), func(algorithm string) error {
		return x.dir(algorithm, goes, func(name string, r io.Reader) (bool, error) {
			d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(algorithm)), name)
			if d.Validate() != nil {
				return true, nil // nobody's name for anything
			}
			got, err := d.Algorithm().FromReader(r)
			return got == d, err
		})
	})
	return errors.Join(err, eachDir(filepath.Join(sh.dir, "nodes"), func(shard string) error {
		return x.dir(shard, goes, func(name string, r io.Reader) (bool, error) {
			c, ok := parseKey(name)
			if !ok {
				return true, nil
			}
			data, err := io.ReadAll(io.LimitReader(r, unixfs.MaxBlock+1))
			return (unixfs.Block{CID: c, Data: data}).Verify() == nil, err
		})
	}))
}

// dir reads the files of a directory.
func (x *scrub) dir(dir string, goes func(path string) error, isRight func(name string, r io.Reader) (bool, error)) error {
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	var unread []error
	for _, e := range entries {
		if x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		right, err := x.file(path, isRight)
		switch {
		case errors.Is(err, fs.ErrNotExist): // by now
		case err != nil:
			unread = append(unread, err)
		case !right:
			x.Found(path, goes(path))
		}
	}
	return errors.Join(unread...)
}

func (x *scrub) file(path string, isRight func(name string, r io.Reader) (bool, error)) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	right, err := isRight(filepath.Base(path), slow{f, x.Read})
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	return right, nil
}

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
