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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newRemoveCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "rm REF...",
		Short: "Remove images from a store",
		Long: `Rm takes images off the list of those that a store keeps, and prints their
references. The space is free after converter gc; until then they are still served,
and can be converted or copied again at once.

REF is an address as converter prints it, with or without a registry host, a name
and a tag. Images that share an address go together: the address alone removes all
of them, and names and tags have to be those of all.`,
		Example: `  converter rm ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy
  converter rm localhost:5000/ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/nginx`,
		Args: addresses,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			found, err := find(cmd.Context(), s, args)
			if err != nil {
				return err
			}
			for _, at := range found {
				if err := at.remove(cmd.Context(), s); err != nil {
					return err
				}
				for _, ref := range at.references() {
					fmt.Fprintln(cmd.OutOrStdout(), oneLine(ref))
				}
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "the space is free after `converter gc`")
			return nil
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// A removal is a root that goes, and which of its images were named.
type removal struct {
	root   cid.Cid
	arg    string // that named it first
	record store.Record
	named  []bool
}

// find looks up what the arguments name, all of it before any of it goes.
func find(ctx context.Context, s *store.Store, args []string) ([]*removal, error) {
	var found []*removal
	for _, arg := range args {
		at, err := parseAddress(arg)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(found, func(r *removal) bool { return bytes.Equal(r.root.Hash(), at.root.Hash()) })
		if i < 0 {
			r, err := newRemoval(s, at, arg)
			if err != nil {
				return nil, err
			}
			i, found = len(found), append(found, r)
		}
		if err := found[i].name(ctx, s, at, arg); err != nil {
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

func newRemoval(s *store.Store, at address, arg string) (*removal, error) {
	r, err := s.Record(at.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notThere(arg, s)
	case errors.Is(err, store.ErrDamaged) && !at.isBare():
		return nil, fmt.Errorf("%w: `converter rm %s` removes all that has this address", err, at.root)
	case err != nil && !errors.Is(err, store.ErrDamaged):
		return nil, err
	}
	return &removal{at.root, arg, r, make([]bool, len(r.Images))}, nil
}

func notThere(arg string, s *store.Store) error {
	return fmt.Errorf("%s is not in the store %s", arg, s.Dir())
}

// isBare reports whether the address is that of all images of the root.
func (a address) isBare() bool { return a.name == "" && a.tag == "" }

// name notes which images an address names.
func (r *removal) name(ctx context.Context, s *store.Store, at address, arg string) error {
	there := at.isBare()
	for i, img := range r.record.Images {
		named, err := r.isNamed(ctx, s, at, img)
		if err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
		r.named[i] = r.named[i] || named
		there = there || named
	}
	if !there {
		return notThere(arg, s)
	}
	return nil
}

func (r *removal) isNamed(ctx context.Context, s *store.Store, at address, img store.Image) (bool, error) {
	switch {
	case at.isBare():
		return true, nil
	case at.name != img.Name:
		return false, nil
	case at.tag == layout.Latest && !r.isTag(at):
		return isAlias(ctx, s, at, img)
	}
	return at.tag == "" || at.tag == img.Tag || at.tag == img.Digest.String(), nil
}

func (r *removal) isTag(at address) bool {
	return slices.ContainsFunc(r.record.Images, func(img store.Image) bool { return img.Name == at.name && img.Tag == at.tag })
}

// isAlias reports whether an image is found by a tag that it does not have.
func isAlias(ctx context.Context, s *store.Store, at address, img store.Image) (bool, error) {
	alias, err := s.Trail(ctx, at.root, layout.ManifestPath(at.name, at.tag))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	manifest, err := s.Trail(ctx, at.root, layout.ManifestPath(img.Name, cmp.Or(img.Tag, img.Digest.String())))
	if err != nil {
		return false, err
	}
	return alias[len(alias)-1].Equals(manifest[len(manifest)-1]), nil
}

// check reports whether images would go that were not named.
func (r *removal) check() error {
	i := slices.Index(r.named, false)
	if i < 0 {
		return nil
	}
	return fmt.Errorf("%s is not all that has this address, and %s would go with it: `converter rm %s` removes all %d images",
		r.arg, referenceOf(r.record, r.record.Images[i]), r.record.Root, len(r.named))
}

func (r *removal) remove(ctx context.Context, s *store.Store) error {
	err := s.Remove(ctx, r.root)
	if errors.Is(err, fs.ErrNotExist) {
		return notThere(r.arg, s)
	}
	return err
}

// references are those of all images of the root; what named it, where its record
// is damaged.
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

func referenceOf(r store.Record, img store.Image) string {
	if img.Tag == "" {
		return addressOf(r, img) + "@" + img.Digest.String()
	}
	return addressOf(r, img) + ":" + img.Tag
}
