package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/distribution/reference"
	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newNameCommand() *cobra.Command {
	var f nameFlags
	cmd := &cobra.Command{
		Use:   "name CID|NAME",
		Short: "Print all spellings of a CID, or of the address of an image",
		Long: `Name reads a CID in any spelling and prints all spellings that are in use. The
first and the last three can be part of an image name.

NAME is an image in the own root of a registry or of a store. Its CID is that of a
directory that holds the image's repository alone, in its current state. If NAME
begins with a registry's host, name asks that registry, with the credentials that
docker and podman keep. Otherwise, and always with --store, it looks in the store.`,
		Example: `  converter name QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a
  converter name registry.example.com/team/app:v1
  converter name team/app --store /srv/images`,
		Args: cobra.MatchAll(someReferences, cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.parse(cmd, args[0])
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

// nameFlags are the flags of name.
type nameFlags struct {
	storeFlag
	verify bool
}

func (f *nameFlags) register(cmd *cobra.Command) {
	f.storeFlag.register(cmd)
	cmd.Flags().BoolVar(&f.verify, "src-tls-verify", true, "verify the TLS certificate of the registry that is asked")
}

// parse returns the CID in an argument, or the address of the image that the argument names.
func (f *nameFlags) parse(cmd *cobra.Command, arg string) (cid.Cid, error) {
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
	if hasHost(arg) && !cmd.Flags().Changed("store") {
		return source.AddressOf(cmd.Context(), arg, f.verify)
	}
	if cmd.Flags().Changed("src-tls-verify") {
		return cid.Undef, fmt.Errorf("--src-tls-verify applies to registries only, and %s is looked up in a store", arg)
	}
	s, noStore := f.open(cmd.Flags())
	if noStore != nil {
		return cid.Undef, noStore
	}
	found, failed := addressIn(cmd.Context(), s, arg)
	switch {
	case failed == nil:
		return found, nil
	case errors.Is(failed, repository.ErrNameUnknown):
		return cid.Undef, fmt.Errorf("%w, nor is it a repository of the own root of the store %s", err, s.Dir())
	}
	return cid.Undef, failed
}

// hasHost reports whether a reference to an image begins with a registry's host.
func hasHost(ref string) bool {
	named, err := reference.ParseNormalizedNamed(ref)
	return err == nil && named.Name() == reference.FamiliarName(named)
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
