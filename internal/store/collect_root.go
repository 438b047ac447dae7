package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A StateError says that a file of a state of the root is missing or damaged.
type StateError struct {
	Root    cid.Cid
	Current bool
	Err     error
}

func (e *StateError) Error() string {
	return "the root's state " + rootName(e.Root) + ": " + e.Err.Error()
}
func (e *StateError) Unwrap() error { return e.Err }

// markRoot marks what the root needs: everything below its kept states, the pending blobs, and
// the addresses of repositories whose images are kept.
func (c *collection) markRoot() error {
	r := c.store.root
	if !r.Exists() {
		return nil
	}
	if !c.dryRun {
		if err := r.RemoveStale(c.ctx); err != nil {
			return err
		}
	}
	keep, err := c.markStates()
	if err != nil {
		return err
	}
	if err := c.markPending(); err != nil {
		return err
	}
	if err := c.markAddresses(); err != nil {
		return err
	}
	if c.dryRun {
		return nil
	}
	return r.setCollected(keep) // before anything of an older state is removed
}

// markStates marks the kept states: the current one, and those that were replaced after the
// time that it returns.
func (c *collection) markStates() (after time.Time, err error) {
	r := c.store.root
	keep, err := r.Keep()
	if err != nil {
		return after, err
	}
	after = r.now().Add(-keep)
	var damaged error
	err = r.EachState(c.ctx, func(s State) bool {
		if !s.Replaced.IsZero() && (!s.Kept || !s.Replaced.After(after)) {
			return true
		}
		if err := c.kept.follow(c.ctx, s.Root); err != nil {
			damaged = &StateError{s.Root, s.Replaced.IsZero(), err}
		}
		return damaged == nil
	})
	if c.ctx.Err() != nil {
		return after, context.Cause(c.ctx)
	}
	return after, errors.Join(err, damaged)
}

func (c *collection) markPending() error {
	r := c.store.root
	return r.eachMark(c.ctx, func(path string, _ fs.FileInfo) error {
		file, err := r.readMark(path)
		if err == nil {
			err = c.kept.follow(c.ctx, file)
		}
		if isLost(err) {
			return nil // the blob must be uploaded again
		}
		return err
	})
}

// markAddresses marks the directories of the addresses that were told to those who changed
// repositories, as long as an image at the address is kept. The files below them are marked
// only if something else needs them.
func (c *collection) markAddresses() error {
	seen := map[nodeKey]bool{}
	var failed error
	err := c.store.root.EachState(c.ctx, func(s State) bool {
		for _, a := range s.Actions {
			if !a.Address.Defined() || seen[keyOf(a.Address)] {
				continue
			}
			seen[keyOf(a.Address)] = true
			if failed = c.markAddress(a); failed != nil {
				return false
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

func (c *collection) markAddress(a Action) error {
	kept, err := c.keepsManifest(a)
	if err == nil && kept {
		err = c.kept.directories(c.ctx, a.Address)
	}
	if isLost(err) { // an earlier collection removed the address, or its directories have rotted
		return nil
	}
	return err
}

// isLost reports whether an error says that a file of the store is missing or damaged.
func isLost(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) }

// keepsManifest reports whether a manifest at the address of an action is marked.
func (c *collection) keepsManifest(a Action) (bool, error) {
	pushed, err := unixfs.Walk(c.ctx, c.store.keptNode, a.Address, layout.ManifestPath(a.Name, a.Digest.String()))
	if err == nil && c.kept.has(pushed) {
		return true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	manifests, err := unixfs.ReadDir(c.ctx, c.store.keptNode, a.Address, layout.ManifestsDir(a.Name))
	for _, m := range manifests {
		if c.kept.has(m) {
			return true, nil
		}
	}
	return false, err
}

// keptNode returns a kept node, verified. It is a unixfs.Getter.
func (s *Store) keptNode(_ context.Context, c cid.Cid) ([]byte, error) {
	data, err := s.readNode(c)
	if err == nil && (unixfs.Block{CID: c, Data: data}).Verify() != nil {
		err = fmt.Errorf("%s is %w: its bytes do not have the hash in its name", s.nodePath(c), ErrDamaged)
	}
	return data, err
}

// directories walks the directories below root that are there, and no files.
func (w *walk) directories(ctx context.Context, root cid.Cid) error {
	for todo := []cid.Cid{root}; len(todo) > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if c.Type() != cid.DagProtobuf || w.has(c) {
			continue
		}
		children, directory, err := w.node(c)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !directory {
			continue
		}
		if err != nil {
			return err
		}
		w.inner[keyOf(c)] = struct{}{}
		for _, child := range children {
			todo = append(todo, child.CID)
		}
	}
	return nil
}
