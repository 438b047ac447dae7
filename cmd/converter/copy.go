package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

type copyFlags struct {
	transfer
	onto    string
	profile string
}

func newCopyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "copy [REF]",
		Short: "Copy images from a store, a node or a CAR file to another",
		Long: `Copy puts everything below the root of REF somewhere else, verified block by
block on its way, and prints the references to pull. The address stays the same.

REF is an address as converter prints it, with or without a registry host and a
name; it may be left out where a CAR file with one root is read.`,
		Example: `  converter copy ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy --ipfs-api http://127.0.0.1:5001
  converter copy ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy --car nginx.car
  converter copy ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy --gateway https://ipfs.example.com
  converter copy --from nginx.car --store /srv/images`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	f.register(fs)
	fs.StringVar(&f.onto, "onto", "", "add the images to what this `root` holds, where they go")
	fs.StringVar(&f.profile, "cid-profile", unixfs.V1.String(), "with --onto, how directories become blocks: "+unixfs.V1.String()+" or "+unixfs.V0.String())
	return cmd
}

func (f *copyFlags) run(cmd *cobra.Command, args []string) error {
	profile, err := unixfs.ParseProfile(f.profile)
	if err != nil {
		return err
	}
	if err := f.check(cmd.Flags()); err != nil {
		return err
	}
	onto, err := openBase(f.onto, "", f.place)
	if err != nil {
		return err
	}
	defer onto.close()
	return f.transfer.run(cmd, args, func(ctx context.Context, from storedImage, dst converter.Destination, o converter.Options) (*converter.Result, error) {
		o.Profile, o.Onto = profile, onto.base()
		return converter.Copy(ctx, from.Origin, from.ref.root, dst, o)
	})
}
