package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
)

// A transfer takes images that are on IPFS from one place to another.
type transfer struct {
	place // where to
	output
	from     string
	gateways []string // where from, if any
}

func (t *transfer) register(fs *pflag.FlagSet) {
	fs.StringVar(&t.from, "from", "", "where the image is: a store's `directory`, a CAR file or a node's URL (default "+defaultStore()+")")
	fs.StringArrayVar(&t.gateways, "gateway", nil, "where the image is: the IPFS gateway at this `URL`, which need not be trusted; may be given several times")
	t.registerTo(fs)
	t.output.register(fs)
}

// run does what it is given between the places, and prints the result.
func (t *transfer) run(cmd *cobra.Command, args []string, do func(context.Context, storedImage, converter.Destination, converter.Options) (*converter.Result, error)) error {
	if err := t.start(cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer t.stop()
	if err := t.check(cmd.Flags()); err != nil {
		return err
	}
	from, err := t.open(args)
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
		return err
	}
	return t.print(cmd.OutOrStdout(), result, where)
}

// open opens what an argument names, where the flags say that it is.
func (t *transfer) open(args []string) (storedImage, error) {
	if len(t.gateways) == 0 {
		return openImage(args, t.from, t.token)
	}
	if t.from != "" {
		return storedImage{}, errors.New("images come from --from or from --gateway, and not from both")
	}
	at := place{gateways: t.gateways, warnf: t.logf}
	return at.image(args)
}
