package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

type copyFlags struct {
	place // where to
	output
	from    string
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
  converter copy --from nginx.car --store /srv/images`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.from, "from", "", "where the image is: a store's `directory`, a CAR file or a node's URL (default "+defaultStore()+")")
	f.place.register(fs, true)
	fs.StringVar(&f.onto, "onto", "", "add the images to what this `root` holds, where they go")
	fs.StringVar(&f.profile, "cid-profile", unixfs.V1.String(), "with --onto, how directories become blocks: "+unixfs.V1.String()+" or "+unixfs.V0.String())
	f.output.register(fs)
	cmd.MarkFlagsMutuallyExclusive("store", "ipfs-api", "car")
	return cmd
}

func (f *copyFlags) run(cmd *cobra.Command, args []string) error {
	profile, err := unixfs.ParseProfile(f.profile)
	if err != nil {
		return err
	}
	if err := f.start(cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer f.stop()
	if err := f.place.check(cmd.Flags()); err != nil {
		return err
	}
	from, err := openImage(args, f.from, f.token)
	if err != nil {
		return err
	}
	defer from.Close()
	onto, err := openBase(f.onto, "", f.place)
	if err != nil {
		return err
	}
	defer onto.close()
	dst, where, err := f.destination(f.logf)
	if err != nil {
		return err
	}
	result, err := converter.Copy(cmd.Context(), from.Origin, from.ref.root, dst, f.options(converter.Options{Profile: profile, Onto: onto.base()}))
	if err := errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("copying from %s: %w", from, err)
	}
	return f.print(cmd.OutOrStdout(), result, where)
}
