package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/distribution/reference"
	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newNameCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "name CID|NAME",
		Short: "Print all spellings of a CID",
		Long: `Name reads a CID in any spelling and prints all spellings that are in use. The
first and the last three can be part of an image name.

NAME is a repository of the store's own root, with or without a registry host and a
tag. Its CID is that of a directory that holds this repository alone, as it is now.`,
		Example: `  converter name QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a
  converter name localhost:5000/team/app:v1`,
		Args: cobra.MatchAll(someReferences, cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := parseName(cmd.Context(), &f, cmd, args[0])
			if err != nil {
				return err
			}
			spellings, err := cidname.Spellings(c)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range spellings {
				fmt.Fprintf(w, "%s\t%s\n", s.Form, s.Text)
			}
			return w.Flush()
		},
	}
	f.register(cmd)
	return cmd
}

// parseName returns the CID that an argument is, or that the repository has which it names.
func parseName(ctx context.Context, f *storeFlag, cmd *cobra.Command, arg string) (cid.Cid, error) {
	c, err := cidname.ParseAny(arg)
	if err == nil {
		return c, nil
	}
	if ref, other := parseReference(arg); other == nil {
		return ref.root, nil
	}
	if _, misspelt := errors.AsType[*cidname.SpellingError](err); misspelt {
		return cid.Undef, err
	}
	s, noStore := f.open(cmd.Flags())
	if noStore != nil {
		return cid.Undef, noStore
	}
	found, failed := addressIn(ctx, s, arg)
	switch {
	case failed == nil:
		return found, nil
	case errors.Is(failed, repository.ErrNameUnknown):
		return cid.Undef, fmt.Errorf("%w, nor is it a repository of the own root of the store %s", err, s.Dir())
	}
	return cid.Undef, failed
}

// addressIn returns the address of the repository that a reference names in a store's own
// root. The error is repository.ErrNameUnknown if there is none.
func addressIn(ctx context.Context, s *store.Store, ref string) (cid.Cid, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return cid.Undef, repository.ErrNameUnknown
	}
	name := reference.Path(named)
	if reference.Domain(named) == "docker.io" { // the reference has no host
		name = reference.FamiliarName(named)
	}
	r, err := repository.New(s, repository.Config{}).Repository(name, "")
	if err != nil {
		return cid.Undef, repository.ErrNameUnknown
	}
	return r.Address(ctx)
}
