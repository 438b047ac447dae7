package main

import (
	"bytes"
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
references. All that share an address go together. The space is free after
converter gc; until then they are still served, and can be converted or copied
again at once.

REF is an address as converter prints it, with or without a registry host, a name
and a tag.`,
		Example: `  converter rm ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy
  converter rm localhost:5000/ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/nginx`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			found, err := find(s, args)
			if err != nil {
				return err
			}
			for _, at := range found {
				if err := at.remove(cmd.Context(), s); err != nil {
					return err
				}
				for _, ref := range at.references {
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

// A removal is a root that goes, and what people know it by.
type removal struct {
	root       cid.Cid
	arg        string
	references []string
}

// find looks up what the arguments name, all of it before any of it goes.
func find(s *store.Store, args []string) ([]removal, error) {
	var found []removal
	for _, arg := range args {
		at, err := parseAddress(arg)
		if err != nil {
			return nil, err
		}
		r, err := s.Record(at.root)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !at.in(r):
			return nil, notThere(arg, s)
		case err != nil && !errors.Is(err, store.ErrDamaged):
			return nil, err
		}
		if !slices.ContainsFunc(found, func(f removal) bool { return bytes.Equal(f.root.Hash(), at.root.Hash()) }) {
			found = append(found, removal{at.root, arg, references(r, arg)})
		}
	}
	return found, nil
}

func notThere(arg string, s *store.Store) error {
	return fmt.Errorf("%s is not in the store %s", arg, s.Dir())
}

// in reports whether the root of that record has an image at the address.
func (a address) in(r store.Record) bool {
	return a.name == "" && a.tag == "" || slices.ContainsFunc(r.Images, func(img store.Image) bool {
		return a.name == img.Name && (a.tag == "" || slices.Contains([]string{img.Tag, img.Digest.String(), layout.Latest}, a.tag))
	})
}

func (r removal) remove(ctx context.Context, s *store.Store) error {
	err := s.Remove(ctx, r.root)
	if errors.Is(err, fs.ErrNotExist) {
		return notThere(r.arg, s)
	}
	return err
}

// references are those of all images of a root; what named it, where its record
// is damaged.
func references(r store.Record, arg string) []string {
	if len(r.Images) == 0 {
		return []string{arg}
	}
	var refs []string
	for _, img := range r.Images {
		switch ref := addressOf(r, img); {
		case img.Tag != "":
			refs = append(refs, ref+":"+img.Tag)
		default:
			refs = append(refs, ref+"@"+img.Digest.String())
		}
	}
	return refs
}
