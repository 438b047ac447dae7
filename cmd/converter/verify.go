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
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

type verifyFlags struct {
	source   sourceFlags
	all      bool
	registry string
}

func newVerifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [REF | --all]",
		Short: "Verify every block and every digest of images",
		Long: `Verify reads images and checks every block against its CID, every manifest, config
and layer against its digest and size, and every decompressed layer against the
config. It prints one line for each image that is right, with how much was read. For
each thing that is wrong it prints one line on standard error, and then exits with
status 1.

REF is an address as converter prints it, with or without a registry host, a name
and a tag. It may be left out if --from is a CAR file with one root. In a CAR file,
blocks that no image needs are verified too.

With --all, damaged files of a store are taken out of service, also those in its
cache, so that they are converted or fetched again.`,
		Example: `  converter verify ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy
  converter verify --from nginx.car
  converter verify --all --store /srv/images`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeReferences,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVar(&f.all, "all", false, "verify every image of the store or CAR file, those of the store's own root too")
	f.source.registerReadOnly(cmd)
	registerRegistry(fs, &f.registry)
	return cmd
}

func (f *verifyFlags) run(cmd *cobra.Command, args []string) error {
	host, err := parseHost(f.registry)
	if err != nil {
		return err
	}
	at, err := f.source.place(cmd.Flags())
	if err != nil {
		return err
	}
	v := verification{at: at, all: f.all, host: host, plain: map[cid.Cid]bool{}, stdout: cmd.OutOrStdout(), logf: logTo(cmd.ErrOrStderr())}
	if err := v.open(cmd.Context(), args); err != nil {
		return err
	}
	defer v.from.Close()
	return v.run(cmd.Context())
}

// A verification is one run of converter verify. It reads from one place, and its result
// depends on that place alone.
type verification struct {
	at        place
	all       bool
	host      string // of the printed references
	stdout    io.Writer
	logf      func(format string, args ...any)
	from      origin.Origin
	roots     []cid.Cid
	plain     map[cid.Cid]bool // roots that were copied without images
	selection origin.Selection
	damaged   error // records of the store that cannot be read
	verifier  *verify.Verifier
}

// open opens the place, and lists the roots to verify.
func (v *verification) open(ctx context.Context, args []string) error {
	if !v.all {
		img, err := v.at.open(args, v.logf)
		v.from, v.selection, v.roots = img.Origin, img.Selection, []cid.Cid{img.root}
		return err
	}
	switch {
	case len(args) > 0:
		return fmt.Errorf("--all verifies all images, and %s is one of them: give one or the other", args[0])
	case v.at.kind == nodePlace:
		return errors.New("--all is for a store or a CAR file: a node does not say which of its roots are images")
	case v.at.kind == gatewayPlace:
		return errors.New("--all is for a store or a CAR file: a gateway does not say which images it has")
	}
	var err error
	if v.from, v.roots, err = v.at.origin(v.logf); err != nil || !v.at.isStore() {
		return err
	}
	s := v.at.openStore()
	records, err := s.Images(ctx)
	v.damaged = err
	for _, r := range records {
		if root, err := cidname.ParseAny(r.Root); err == nil {
			v.roots = append(v.roots, root)
			v.plain[root] = len(r.Images) == 0
		}
	}
	return v.addOwnRoot(ctx, s)
}

// addOwnRoot adds the current state of a store's own root, if it has one.
func (v *verification) addOwnRoot(ctx context.Context, s *store.Store) error {
	current, err := s.Root().Current()
	if errors.Is(err, store.ErrLacking) {
		return nil
	}
	if err != nil {
		return err
	}
	images, err := repository.New(s, repository.Config{}).Images(ctx, current)
	v.roots = append(v.roots, current)
	v.plain[current] = err == nil && len(images) == 0
	return nil
}

func (v *verification) run(ctx context.Context) error {
	v.verifier = verify.New(v.from, func(fault verify.Fault) { v.logf("%v", withHint(v.describe(fault))) }, v.logf)
	if v.damaged != nil {
		v.logf("%v", v.damaged)
	}
	if err := v.images(ctx); err != nil {
		return err
	}
	rotten := 0
	if v.all && v.at.isStore() {
		var err error
		if rotten, err = v.scrub(ctx); err != nil {
			return err
		}
	}
	switch n := v.verifier.Faults() + rotten; {
	case n == 1:
		return errors.New("1 thing is wrong")
	case n > 1:
		return fmt.Errorf("%d things are wrong", n)
	case v.damaged != nil:
		return errors.New("the store may have more images: some of its records cannot be read")
	case len(v.roots) == 0:
		v.logf("%s holds no image", v.from)
	}
	return nil
}

// images verifies the images and prints a line for each that is right. Those of a
// CAR file are printed when all of the file has been read.
func (v *verification) images(ctx context.Context) error {
	var right []*verify.Verified
	for _, root := range v.roots {
		verified, err := v.verify(ctx, root)
		if err != nil {
			return err
		}
		if verified == nil {
			continue
		}
		if v.at.isStore() {
			before := v.verifier.Faults()
			if err := v.verifier.Record(ctx, v.at.openStore(), root); err != nil {
				return err
			}
			if v.verifier.Faults() > before {
				continue
			}
		}
		if v.at.kind == carPlace {
			right = append(right, verified)
		} else if err := v.print(verified); err != nil {
			return err
		}
	}
	if v.at.kind != carPlace || v.verifier.Faults() > 0 {
		return nil
	}
	if err := v.verifier.CAR(ctx, v.at.path); err != nil || v.verifier.Faults() > 0 {
		return err
	}
	for _, verified := range right {
		if err := v.print(verified); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) verify(ctx context.Context, root cid.Cid) (*verify.Verified, error) {
	if v.plain[root] {
		return v.verifier.Blocks(ctx, root)
	}
	return v.verifier.Verify(ctx, root, v.selection)
}

func (v *verification) print(verified *verify.Verified) error {
	references, err := verified.References(v.host)
	if err != nil {
		return err
	}
	if len(references) == 0 {
		references = []string{rootReference(v.host, verified.Root)}
	}
	for i, ref := range references {
		size := verified.Sizes[i]
		if _, err := fmt.Fprintf(v.stdout, "%s  %d blocks, %d bytes\n", oneLine(ref), size.Blocks, size.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// describe adds to a fault that repair mends where to read the image.
func (v *verification) describe(fault verify.Fault) error {
	if !errors.Is(fault, verify.ErrImage2ipfs) {
		return fault
	}
	return repairable{fault, v.at}
}

// scrub removes damaged files of the store from its cache, and returns how many
// those were. If an image is damaged as well, scrub puts its damaged files aside.
func (v *verification) scrub(ctx context.Context) (rotten int, err error) {
	s := v.at.openStore()
	err = s.Scrub(ctx, store.Scrub{Cached: true, Found: func(path string, err error) {
		rotten++
		if err != nil {
			v.logf("%s is damaged, and could not be removed from the cache: %v", path, err)
			return
		}
		v.logf("%s was damaged, and is removed from the cache", path)
	}})
	if err != nil || v.verifier.Faults() == 0 {
		return rotten, err
	}
	return rotten, s.Scrub(ctx, store.Scrub{Kept: true, Found: func(path string, err error) {
		if err != nil {
			v.logf("%s is damaged, and is still served: %v", path, err)
			return
		}
		v.logf("%s is damaged, and put aside: convert the image again", path)
	}})
}
