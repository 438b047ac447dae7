package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newRemoveCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "rm REF...",
		Short: "Remove images from a store",
		Long: `Rm removes images from the list of those that a store keeps, and prints their
references. Run converter gc to free the space. Until then the images are still
served, and converting or copying them again is quick.

REF is an address as converter prints it, with or without a registry host, a name
and a tag. All images at an address are removed together: give the address alone, or
the names and tags of all of them.`,
		Example: `  converter rm ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy
  converter rm localhost:5000/ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/nginx`,
		Args:              someReferences,
		ValidArgsFunction: completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			removals, err := findRemovals(cmd.Context(), s, args)
			if err != nil {
				return inStore(s, err)
			}
			for _, r := range removals {
				if err := r.remove(cmd.Context(), s); err != nil {
					return inStore(s, err)
				}
				for _, ref := range r.references() {
					fmt.Fprintln(cmd.OutOrStdout(), oneLine(ref))
				}
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "run `converter gc` to free the space")
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

// A removal is a root to remove, and which of its images were named.
type removal struct {
	root   cid.Cid
	arg    string // the first that names it
	record store.Record
	named  []bool // by index of the record's images
}

// findRemovals looks up what the arguments name, before anything is removed.
func findRemovals(ctx context.Context, s *store.Store, args []string) ([]*removal, error) {
	var found []*removal
	for _, arg := range args {
		ref, err := parseReference(arg)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(found, func(r *removal) bool { return bytes.Equal(r.root.Hash(), ref.root.Hash()) })
		if i < 0 {
			r, err := newRemoval(ctx, s, ref, arg)
			if err != nil {
				return nil, err
			}
			i, found = len(found), append(found, r)
		}
		if err := found[i].mark(ctx, s, ref, arg); err != nil {
			return nil, err
		}
	}
	for _, r := range found {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func newRemoval(ctx context.Context, s *store.Store, ref imageRef, arg string) (*removal, error) {
	r, err := s.Record(ref.root)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.Root().HasState(ctx, ref.root):
		return nil, fmt.Errorf("%s is a state of the root of %s: clients delete images from the root, and `converter gc --keep` removes old states", arg, s.Dir())
	case errors.Is(err, fs.ErrNotExist):
		return nil, notInStore(arg, s)
	case errors.Is(err, store.ErrDamaged) && !ref.IsAll():
		return nil, fmt.Errorf("%w: `converter rm %s` removes everything at this address", err, ref.root)
	case err != nil && !errors.Is(err, store.ErrDamaged):
		return nil, err
	}
	return &removal{ref.root, arg, r, make([]bool, len(r.Images))}, nil
}

func notInStore(arg string, s *store.Store) error {
	return fmt.Errorf("%s is not in the store %s", arg, s.Dir())
}

// mark marks the images that a reference names.
func (r *removal) mark(ctx context.Context, s *store.Store, ref imageRef, arg string) error {
	found := ref.IsAll()
	for i, img := range r.record.Images {
		if ref.Has(img.Name, img.Tag, img.Digest) {
			r.named[i], found = true, true
		}
	}
	if found {
		return nil
	}
	for i, img := range r.record.Images {
		if ref.Reference != layout.Latest || ref.Name != img.Name {
			continue
		}
		alias, err := isLatest(ctx, s, ref.root, img)
		if err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
		r.named[i], found = r.named[i] || alias, found || alias
	}
	if !found {
		return notInStore(arg, s)
	}
	return nil
}

// isLatest reports whether an image that is not tagged latest is pulled by that
// tag.
func isLatest(ctx context.Context, s *store.Store, root cid.Cid, img layout.Tagged) (bool, error) {
	from, err := origin.FromStore(s.Dir())
	if err != nil {
		return false, err
	}
	latest, err := from.Walk(ctx, root, layout.ManifestPath(img.Name, layout.Latest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	manifest, err := from.Walk(ctx, root, layout.ManifestPath(img.Name, cmp.Or(img.Tag, img.Digest.String())))
	return err == nil && latest.Equals(manifest), err
}

// check returns an error if images would be removed that were not named.
func (r *removal) check() error {
	i := slices.Index(r.named, false)
	if i < 0 {
		return nil
	}
	return fmt.Errorf("%s is not the only image at this address, and %s would go with it: `converter rm %s` removes all %d images",
		r.arg, referenceOf(r.record, r.record.Images[i]), r.record.Root, len(r.named))
}

func (r *removal) remove(ctx context.Context, s *store.Store) error {
	err := s.Remove(ctx, r.root)
	if errors.Is(err, fs.ErrNotExist) {
		return notInStore(r.arg, s)
	}
	return err
}

// references returns those of all images of the root, or the argument if the
// record is damaged.
func (r *removal) references() []string {
	if len(r.record.Images) == 0 {
		return []string{r.arg}
	}
	refs := make([]string, len(r.record.Images))
	for i, img := range r.record.Images {
		refs[i] = referenceOf(r.record, img)
	}
	return refs
}
