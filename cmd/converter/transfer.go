package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
)

// A transfer takes images that are on IPFS from one place to another.
type transfer struct {
	place // where to
	output
	from string
}

func (t *transfer) register(fs *pflag.FlagSet) {
	fs.StringVar(&t.from, "from", "", "where the image is: a store's `directory`, a CAR file or a node's URL (default "+defaultStore()+")")
	t.place.registerTo(fs)
	t.output.register(fs)
}

// run does what it is given between the places, and prints the result.
func (t *transfer) run(cmd *cobra.Command, args []string, do func(context.Context, storedImage, converter.Destination, converter.Options) (*converter.Result, error)) error {
	if err := t.start(cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer t.stop()
	if err := t.place.check(cmd.Flags()); err != nil {
		return err
	}
	from, err := openImage(args, t.from, t.token)
	if err != nil {
		return err
	}
	defer from.Close()
	dst, where, err := t.destination(t.logf)
	if err != nil {
		return err
	}
	result, err := do(cmd.Context(), from, dst, t.options(converter.Options{}))
	if err := errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("from %s: %w", from, err)
	}
	return t.print(cmd.OutOrStdout(), result, where)
}
