package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/verify"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

type verifyFlags struct {
	place
	all      bool
	registry string
}

func newVerifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [REF | --all]",
		Short: "Verify every block and every digest of images",
		Long: `Verify reads images from a store, a CAR file, a node or gateways, and holds every block
against its CID, every manifest, config and layer against its digest and size, and
every layer decompressed against the config. It prints a line for each image that
is right, with how much was read, and on standard error a line for each thing that
is wrong; then it exits with 1. With --all, what rotted in a store is taken out of
service, cached things as well, so that it is converted or fetched anew.

REF is an address as converter prints it, with or without a registry host, a name
and a tag; it may be left out where a CAR file with one root is read. Of a CAR file,
blocks that no image needs are verified too.`,
		Example: `  converter verify ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy
  converter verify --car nginx.car
  converter verify --all --store /srv/images`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVar(&f.all, "all", false, "verify every image of the store, or of the CAR file")
	f.registerFrom(fs)
	fs.StringVarP(&f.registry, "registry", "r", "http://localhost:5000", "registry to print in the references")
	return cmd
}

func (f *verifyFlags) run(cmd *cobra.Command, args []string) error {
	host, err := host(f.registry)
	if err != nil {
		return err
	}
	if err := f.check(cmd.Flags()); err != nil {
		return err
	}
	say := logTo(cmd.ErrOrStderr())
	f.warnf = say
	images, err := f.open(cmd.Context(), args)
	if err != nil {
		return err
	}
	defer images.Close()
	v := verify.New(images.Origin, func(fault verify.Fault) { say("%s", f.advise(fault)) }, say)
	if images.damaged != nil {
		say("%v", images.damaged)
	}
	if err := f.verify(cmd.Context(), v, images, cmd.OutOrStdout(), host); err != nil {
		return err
	}
	rotten, err := f.scrub(cmd.Context(), v.Faults() > 0, say)
	if err != nil {
		return err
	}
	switch n := v.Faults() + rotten; {
	case n == 1:
		return errors.New("1 thing is wrong")
	case n > 1:
		return fmt.Errorf("%d things are wrong", n)
	case images.damaged != nil:
		return errors.New("not all images that the store has can be told")
	case len(images.roots) == 0:
		say("%s holds no image", images)
	}
	return nil
}

// verifiable is what is to be verified, and where it is.
type verifiable struct {
	origin.Origin
	origin.Selection
	roots   []cid.Cid
	damaged error // why there may be more
}

func (f *verifyFlags) open(ctx context.Context, args []string) (verifiable, error) {
	if !f.all {
		img, err := f.image(args)
		return verifiable{img.Origin, img.ref.selection(), []cid.Cid{img.ref.root}, nil}, err
	}
	if len(args) > 0 {
		return verifiable{}, fmt.Errorf("--all is for all images, and %s is one", args[0])
	}
	if f.api != "" {
		return verifiable{}, errors.New("--all is for a store or a CAR file: a node does not say which of its roots are images")
	}
	o, roots, err := f.origin()
	if err != nil {
		return verifiable{}, err
	}
	all := verifiable{Origin: o, roots: roots}
	if f.car != "" {
		return all, nil
	}
	dir, err := f.dir()
	if err != nil {
		return verifiable{}, err
	}
	records, err := store.Open(dir).Images(ctx)
	all.damaged = err
	for _, r := range records {
		if root, err := cidname.ParseAny(r.Root); err == nil {
			all.roots = append(all.roots, root)
		}
	}
	return all, nil
}

func (a address) selection() origin.Selection {
	return origin.Selection{Name: a.name, Reference: a.tag}
}

// verify prints a line for each image that is right: those of a CAR file when all
// of it was read.
func (f *verifyFlags) verify(ctx context.Context, v *verify.Verifier, images verifiable, stdout io.Writer, host string) error {
	var right []*verify.Verified
	for _, root := range images.roots {
		verified, err := v.Verify(ctx, root, images.Selection)
		switch {
		case err != nil:
			return err
		case verified == nil:
			continue
		case f.car != "":
			right = append(right, verified)
			continue
		}
		sound, err := f.verifyRecord(ctx, v, root)
		if err == nil && sound {
			err = printVerified(stdout, verified, host)
		}
		if err != nil {
			return err
		}
	}
	if f.car == "" || v.Faults() > 0 {
		return nil
	}
	if err := v.CAR(ctx, f.car); err != nil || v.Faults() > 0 {
		return err
	}
	for _, verified := range right {
		if err := printVerified(stdout, verified, host); err != nil {
			return err
		}
	}
	return nil
}

// verifyRecord reports whether what a store has noted about a root is right.
func (f *verifyFlags) verifyRecord(ctx context.Context, v *verify.Verifier, root cid.Cid) (sound bool, err error) {
	if f.api != "" {
		return true, nil
	}
	dir, err := f.dir()
	if err != nil {
		return false, err
	}
	before := v.Faults()
	err = v.Record(ctx, store.Open(dir), root)
	return v.Faults() == before, err
}

func printVerified(w io.Writer, verified *verify.Verified, host string) error {
	references, err := verified.References(host)
	if err != nil {
		return err
	}
	for i, ref := range references {
		size := verified.Sizes[i]
		if _, err := fmt.Fprintf(w, "%s  %d blocks, %d bytes\n", ref, size.Blocks, size.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// advise says of a fault what it is, and what to do about it if that is known.
func (f *verifyFlags) advise(fault verify.Fault) string {
	if !errors.Is(fault.Err, verify.ErrImage2ipfs) {
		return fault.Error()
	}
	ref, err := cidname.Format(fault.Root)
	if err != nil {
		return fault.Error()
	}
	if name, _, _ := layout.Split(fault.Path); name != "" {
		ref += "/" + name
	}
	if at := f.store + f.car + f.api; at != "" {
		ref += " --from " + at
	}
	return fmt.Sprintf("%s: `converter repair %s` writes it anew", fault, ref)
}
