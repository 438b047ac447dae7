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
	"github.com/opencontainers/go-digest"

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

func (e *ImageError) Error() string { return fmt.Sprintf("image %s: %v", name(e.Root), e.Err) }
func (e *ImageError) Unwrap() error { return e.Err }

// name spells a root as image names do, where they can.
func name(root cid.Cid) string {
	if name, err := cidname.Format(root); err == nil {
		return name
	}
	return key(root)
}

// Collect removes what no record leads to, and what killed imports left. Where
// an image is damaged, nothing that might be its own is removed: the error is an
// *ImageError. Readers are not disturbed, and whoever adds to the store waits.
//
// It may be ended at any time, and then returns what it had removed by then.
// Files that nobody but others can have put into the store are left alone. A dry
// run removes nothing.
func (s *Store) Collect(ctx context.Context, dryRun bool) (Collected, error) {
	c := &collection{store: s, ctx: ctx, dryRun: dryRun, kept: s.newWalk()}
	err := c.leftovers()
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
	kept   *walk // came by all that stays
}

func (c *collection) leftovers() error {
	return c.store.leftovers(func(t *temp) error {
		if err := c.countTree(t.dir); err != nil || c.dryRun {
			return err
		}
		return t.remove()
	})
}

func (c *collection) countTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == filepath.Join(dir, tempLock) {
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

func (c *collection) count(info fs.FileInfo) {
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
	case !c.dryRun || c.ctx.Err() != nil: // who may only read can still look
		return fmt.Errorf("locking the store: %w", err)
	}
	if err := c.mark(); err != nil {
		return err
	}
	if !c.dryRun {
		// A record that is gone must not come back when the power fails.
		if err := syncDir(c.store.images()); err != nil {
			return err
		}
	}
	return c.sweep()
}

// check makes sure that the directory is a store and nothing else: other
// programs keep blobs at the same places.
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
	node := func(name string) bool {
		id, ok := parseKey(name)
		return ok && !c.kept.has(id)
	}
	if err := c.sweepDir(filepath.Join(c.store.dir, "files"), node); err != nil {
		return err
	}
	err := eachDir(filepath.Join(c.store.dir, "nodes"), func(shard string) error {
		return c.sweepDir(shard, func(name string) bool { return node(name) && shardOf(name) == filepath.Base(shard) })
	})
	if err != nil {
		return err
	}
	return eachDir(filepath.Join(c.store.dir, "blobs"), func(algorithm string) error {
		return c.sweepDir(algorithm, func(name string) bool {
			d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(algorithm)), name)
			_, kept := c.kept.blobs[d]
			return d.Validate() == nil && !kept
		})
	})
}

func (c *collection) sweepDir(dir string, goes func(name string) bool) error {
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		if !e.Type().IsRegular() || !goes(e.Name()) && !strings.HasSuffix(e.Name(), Rotten) {
			continue
		}
		info, err := e.Info()
		if err == nil && !c.dryRun {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return err
		}
		c.count(info)
	}
	return nil
}

func eachDir(dir string, visit func(path string) error) error {
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := visit(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// readDir lists a directory, which may be missing.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
