package destination

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Root adds images to a store's own root. Nothing else of the root is read or written, so
// that takes as long in a large one as in a small one.
type Root struct {
	*Store
	what, user string
	logf       func(format string, args ...any)

	changed store.Changed
}

// ToRoot returns a destination that adds to the own root of the store in dir, which is created
// if it does not exist. The log of the root gets the names of the action and of the user.
func ToRoot(dir, what, user string, logf func(format string, args ...any)) (*Root, error) {
	s, err := ToStore(dir)
	if err != nil {
		return nil, err
	}
	return &Root{Store: s, what: what, user: user, logf: logf}, nil
}

// CheckName returns an error for a name that no image of the root can have.
func (d *Root) CheckName(name string) error { return repository.CheckName(name) }

// Commit is part of converter.Destination. The tree needs no directories.
func (d *Root) Commit(ctx context.Context, t *tree.Tree) error {
	add, err := d.addition(ctx, t)
	if err != nil {
		return err
	}
	if err := d.putFiles(ctx, t); err != nil {
		return err
	}
	d.changed, err = d.to.ChangeRoot(ctx, add.Change)
	return err
}

// putFiles puts the files of a tree in place, and leaves the store locked.
func (d *Root) putFiles(ctx context.Context, t *tree.Tree) error {
	if err := d.putBlobs(ctx, t); err != nil {
		return err
	}
	if err := d.putNodes(ctx, t.SmallFiles()); err != nil {
		return fmt.Errorf("storing small files: %w", err)
	}
	return nil
}

func (d *Root) addition(ctx context.Context, t *tree.Tree) (repository.Addition, error) {
	add := repository.Addition{
		Images: t.Images, Files: map[string]unixfs.Node{}, Referrers: map[string]manifest.Referrers{},
		What: d.what, User: d.user,
		Moved: func(img layout.Tagged) {
			d.logf("%s was another image before, which can still be pulled by its digest", img)
		},
	}
	for p, f := range t.Files {
		if !layout.IsReferrersPath(p) {
			add.Files[p] = f.Node()
			continue
		}
		data, err := f.Document(ctx)
		if err == nil {
			add.Referrers[p], err = manifest.ParseReferrers(data)
		}
		if err != nil {
			return add, fmt.Errorf("%s: %w", p, err)
		}
	}
	return add, nil
}

// Addresses returns the root as it is after Commit, and for each image of the tree the root of
// a directory that holds its repository alone.
func (d *Root) Addresses() (root cid.Cid, alone []cid.Cid) {
	for _, a := range d.changed.State.Actions {
		alone = append(alone, a.Address)
	}
	return d.changed.State.Root, alone
}
