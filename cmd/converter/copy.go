package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A transfer reads images from one place on IPFS and writes them to another.
type transfer struct {
	transferFlags
	output
	onto    string
	profile string
}

func (t *transfer) register(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.ValidArgsFunction = completeReferences
	t.transferFlags.register(cmd)
	t.output.register(cmd.Flags())
	t.profile = unixfs.V1.String()
}

func newCopyCommand() *cobra.Command {
	var t transfer
	cmd := &cobra.Command{
		Use:   "copy [REF]",
		Short: "Copy a root from one store, node, gateway or CAR file to another",
		Long: `Copy copies everything below the root of REF, verifies each block on the way, and
prints the references to pull. The address stays the same. A root that holds no
image is copied as well.

REF is an address as converter prints it, with or without a registry host and a
name. It may be left out if --from is a CAR file with one root.`,
		Example: `  converter copy ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy --ipfs-api http://127.0.0.1:5001
  converter copy ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy --car nginx.car
  converter copy ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy --gateway https://ipfs.example.com
  converter copy --from nginx.car --store /srv/images`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.run(cmd, args, t.copyRoot)
		},
	}
	t.register(cmd)
	cmd.Flags().StringVar(&t.onto, "onto", "", "add the images to this `root`, which is read where they are written; \"root\" is the store's own root, which changes")
	cmd.Flags().StringVar(&t.profile, "cid-profile", t.profile, "with --onto, how directories become blocks: "+unixfs.V1.String()+" or "+unixfs.V0.String())
	_ = cmd.RegisterFlagCompletionFunc("onto", completeOnto)
	return cmd
}

func (t *transfer) copyRoot(ctx context.Context, from storedImage, dst converter.Destination, profile unixfs.Profile, onto *converter.Base) (*converter.Result, error) {
	result, err := converter.Copy(ctx, from.Origin, from.root, dst, converter.CopyOptions{Profile: profile, Onto: onto, Progress: t.progress(), Logf: t.logf})
	if err == nil && len(result.Images) == 0 {
		t.logf("%s holds no image that converter can list, and is copied as it is", origin.Address(from.root))
	}
	return result, err
}

func newRepairCommand() *cobra.Command {
	var t transfer
	cmd := &cobra.Command{
		Use:   "repair [REF]",
		Short: "Rewrite an image of image2ipfs 0.1.0 so that it can be pulled",
		Long: `Repair reads an image that image2ipfs 0.1.0 put on IPFS and writes it again with
correct digests. Clients refuse such an image because its layers have wrong digests.
The config and the layers keep their bytes, and so their blocks. The manifest and the
address are new. Repair prints the reference to pull.

REF is the address that image2ipfs printed, with or without the registry's host. It
may be left out if --from is a CAR file with one root.`,
		Example: `  converter repair ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/nginx --from http://127.0.0.1:5001
  converter repair --from nginx.car --store /srv/images`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.run(cmd, args, t.repair)
		},
	}
	t.register(cmd)
	return cmd
}

func (t *transfer) repair(ctx context.Context, from storedImage, dst converter.Destination, profile unixfs.Profile, _ *converter.Base) (*converter.Result, error) {
	return converter.Repair(ctx, from.Origin, from.root, from.Selection, dst, converter.RepairOptions{Profile: profile, Progress: t.progress(), Logf: t.logf})
}

// run opens both places, lets do move the images, and prints the result.
func (t *transfer) run(cmd *cobra.Command, args []string, do func(context.Context, storedImage, converter.Destination, unixfs.Profile, *converter.Base) (*converter.Result, error)) error {
	profile, err := unixfs.ParseProfile(t.profile)
	if err != nil {
		return err
	}
	if t.onto == ontoRoot && profile.String() != unixfs.V1.String() {
		return fmt.Errorf("--cid-profile %s is for roots of their own, and the store's own root has %s", profile, unixfs.V1)
	}
	if err := t.start(cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer t.stop()
	source, target, err := t.places(cmd.Flags())
	if err != nil {
		return err
	}
	onto, err := openBase(t.onto, target.asBase(), t.logf)
	if err != nil {
		return err
	}
	defer onto.close()
	from, err := source.open(args, t.logf)
	if err != nil {
		return err
	}
	defer from.Close()
	dst, where, err := target.destinationOnto(t.onto, "copy", t.mostCounted(), t.logf)
	if err != nil {
		return err
	}
	result, err := do(cmd.Context(), from, dst, profile, onto.Base)
	if err := errors.Join(err, dst.Close()); err != nil {
		return err
	}
	return t.print(cmd.OutOrStdout(), result, where)
}
