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

// An ImageError is about an image of which something is missing or damaged.
type ImageError struct {
	Root cid.Cid
	Err  error
}

func (e *ImageError) Error() string { return fmt.Sprintf("image %s: %v", rootName(e.Root), e.Err) }
func (e *ImageError) Unwrap() error { return e.Err }

// rootName spells a root as image names do, where they can.
func rootName(root cid.Cid) string {
	if name, err := cidname.Format(root); err == nil {
		return name
	}
	return key(root)
}

// Collect removes what no record leads to, and what killed imports left. If an image
// is damaged, it removes nothing that might belong to the image, and the error is an
// *ImageError. Readers are not disturbed; imports wait.
//
// Collect may be ended at any time, and then returns what it removed by then. It
// leaves alone the files that a store does not write. A dry run removes nothing.
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
	kept   *walk // over everything that stays
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
	case !c.dryRun || c.ctx.Err() != nil: // a dry run needs no permission to write
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

// check makes sure that the directory is a store and nothing else, since other
// programs keep blobs at the same places. The error is fs.ErrNotExist if it is none.
func (s *Store) check() error {
	if _, err := os.Stat(s.images()); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, "oci-layout")); err == nil {
		return fmt.Errorf("%s is an OCI layout as well, whose blobs are not ours to remove", s.dir)
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
	return nil
}

// sweep removes what was not marked, blobs after what makes files of them.
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

// stays reports whether a file is marked, or was not put there by a store.
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
