package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// Collected says what Collect removed.
type Collected struct {
	Files int
	Bytes int64
}

// An ImageError says that a file of an image is missing or damaged.
type ImageError struct {
	Root cid.Cid
	Err  error
}

func (e *ImageError) Error() string { return fmt.Sprintf("image %s: %v", rootName(e.Root), e.Err) }
func (e *ImageError) Unwrap() error { return e.Err }

// rootName returns a root as it is written in image names, or else its CID.
func rootName(root cid.Cid) string {
	if name, err := cidname.Format(root); err == nil {
		return name
	}
	return key(root)
}

// Collect removes the files to which neither a record leads nor a kept state of the root,
// and the files that killed imports and uploads left. If an image is damaged, Collect removes
// only the latter, since any other file might belong to the image, and the error is an
// *ImageError or a *StateError. Readers are not disturbed; imports wait.
//
// Collect may be cancelled at any time, and then returns what it has removed. It never
// removes files that are not the store's. A dry run removes nothing.
func (s *Store) Collect(ctx context.Context, dryRun bool) (Collected, error) {
	c := &collection{store: s, ctx: ctx, dryRun: dryRun, kept: s.newWalk()}
	var err error
	if !dryRun {
		err = s.checkOwner()
	}
	if err == nil {
		err = c.leftovers()
	}
	if err == nil {
		err = c.collect()
	}
	return c.Collected, err
}

type collection struct {
	Collected
	store  *Store
	ctx    context.Context
	dryRun bool
	kept   *walk // finds everything that stays
}

func (c *collection) leftovers() error {
	return c.store.leftovers(func(t *temp) error {
		if err := c.countTree(t); err != nil || c.dryRun {
			return err
		}
		return t.remove()
	}, importPrefix)
}

func (c *collection) countTree(t *temp) error {
	return filepath.WalkDir(t.path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == lockOf(t.path) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		c.count(info)
		return nil
	})
}

func (c *Collected) count(info fs.FileInfo) {
	c.Files++
	c.Bytes += info.Size()
}

func (c *collection) collect() error {
	if err := c.store.check(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	lock, err := c.store.lock(c.ctx, exclusive)
	switch {
	case err == nil:
		defer release(lock)
	case !c.dryRun || c.ctx.Err() != nil: // a dry run goes on without permission to write
		return fmt.Errorf("locking the store: %w", err)
	}
	if err := c.mark(); err != nil {
		return err
	}
	if !c.dryRun {
		// A record that is gone must not come back when the power fails.
		if err := atomicfile.SyncDir(c.store.images()); err != nil {
			return err
		}
	}
	return c.sweep()
}

// check returns an error if the directory is not a store, or is something else as well,
// since other programs keep blobs at the same paths. The error is fs.ErrNotExist if it
// is not a store.
func (s *Store) check() error {
	if _, err := os.Stat(s.images()); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, "oci-layout")); err == nil {
		return fmt.Errorf("%s is also an OCI layout: nothing was removed, since its blobs may belong to another program", s.dir)
	}
	return nil
}

func (c *collection) mark() error {
	roots, err := c.store.roots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := c.kept.follow(c.ctx, root); c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		} else if err != nil {
			return &ImageError{root, err}
		}
	}
	return c.markRoot()
}

// sweep removes the files that were not marked. Records and nodes go before blobs, so
// that no record is left without its blob.
func (c *collection) sweep() error {
	return c.store.each(c.ctx, func(it item) error {
		if c.stays(it) {
			return nil
		}
		if !c.dryRun {
			if err := c.store.remove(it.path); err != nil {
				return err
			}
		}
		c.count(it.info)
		return nil
	}, files, nodes, blobs)
}

// stays reports whether a file is marked, or does not have a name that a store gives.
func (c *collection) stays(it item) bool {
	if strings.HasSuffix(it.path, Rotten) {
		return false
	}
	if it.folder == blobs {
		d, ok := it.blob()
		_, kept := c.kept.blobs[d]
		return !ok || kept
	}
	id, ok := it.cid()
	return !ok || c.kept.has(id)
}
