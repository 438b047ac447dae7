package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
)

type repairFlags struct {
	place // where to
	output
	from string
}

func newRepairCommand() *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use:   "repair [REF]",
		Short: "Write an image of image2ipfs 0.1.0 anew, so that it can be pulled",
		Long: `Repair reads an image that image2ipfs 0.1.0 put on IPFS, and which no client takes
since its layers go by wrong digests, and writes it as it should have been. Its
config and its layers keep their bytes, and so their blocks; manifest and address
are new. It prints the reference to pull.

REF is the address that image2ipfs printed, with or without the registry's host; it
may be left out where a CAR file with one root is read.`,
		Example: `  converter repair ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/nginx --from http://127.0.0.1:5001
  converter repair --from nginx.car --store /srv/images`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.from, "from", "", "where the image is: a store's `directory`, a CAR file or a node's URL (default "+defaultStore()+")")
	f.place.register(fs, true)
	f.output.register(fs)
	cmd.MarkFlagsMutuallyExclusive("store", "ipfs-api", "car")
	return cmd
}

func (f *repairFlags) run(cmd *cobra.Command, args []string) error {
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
	dst, where, err := f.destination(f.logf)
	if err != nil {
		return err
	}
	result, err := converter.Repair(cmd.Context(), from.Origin, from.ref.root, from.ref.selection(), dst, f.options(converter.Options{}))
	if err := errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("repairing from %s: %w", from, err)
	}
	return f.print(cmd.OutOrStdout(), result, where)
}
