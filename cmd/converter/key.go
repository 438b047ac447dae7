package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newKeyCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print the IPNS name of a store's own root",
		Long: `Key prints the IPNS name of a store's own root, k51…, which always leads to the root's
current state. If the root has no private key, key makes one.

Anyone who has the private key can decide what the name leads to. The key is in the file
root/key of the store, which only the owner of the store can read. Keep a copy of it
(converter key export): if the key is lost, the name stops working within two days.`,
		Example: `  converter key
  converter key export registry.key
  converter key import registry.key --store /srv/images`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.openOwn(cmd.Flags())
			if err != nil {
				return err
			}
			_, had := s.Root().Name()
			name, err := s.Root().EnsureKey(cmd.Context())
			if err != nil {
				return inStore(s, err)
			}
			if !had {
				fmt.Fprintf(cmd.ErrOrStderr(), "made a new key for the root of %s\n", s.Dir())
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
			return err
		},
	}
	f.register(cmd)
	cmd.AddCommand(newKeyExportCommand(), newKeyImportCommand(), newKeyRotateCommand())
	return cmd
}

func newKeyRotateCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Give a store's own root a new key, and so another IPNS name",
		Long: `Rotate gives a store's own root a new key, removes the old key from the store, and prints
the new IPNS name.

The old name no longer shows changes: each registry that follows it needs the new name
in its configuration. Rotate the key if somebody else may have it.`,
		Example: `  converter key rotate`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.openOwn(cmd.Flags())
			if err != nil {
				return err
			}
			key, err := ipns.NewKey()
			if err != nil {
				return err
			}
			return setKey(cmd, s, key)
		},
	}
	f.register(cmd)
	return cmd
}

// setKey gives the root of a store a key, and prints its name. If the root had another name,
// it also prints what the followers of that name need.
func setKey(cmd *cobra.Command, s *store.Store, key ipns.Key) error {
	before, had := s.Root().Name()
	if err := s.Root().SetKey(cmd.Context(), key); err != nil {
		return inStore(s, err)
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), key.Name()); err != nil {
		return err
	}
	if had && before != key.Name() {
		fmt.Fprintf(cmd.ErrOrStderr(), "each registry that follows the old name %s needs this line instead: root %s\n", before, key.Name())
	}
	return nil
}
