package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
)

func newRepairCommand() *cobra.Command {
	var t transfer
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
		RunE: func(cmd *cobra.Command, args []string) error { return t.run(cmd, args, repair) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	t.register(fs)
	return cmd
}

func repair(ctx context.Context, from storedImage, dst converter.Destination, o converter.Options) (*converter.Result, error) {
	return converter.Repair(ctx, from.Origin, from.ref.root, from.ref.selection(), dst, o)
}
