package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const description = `Converter reads an image archive, as docker save writes it, and puts its images
on IPFS: into a store on disk, from which the Caddy module ipfs_registry serves
them, or where a flag says. It prints the references to pull, one a line.

Nothing is published unless --ipfs-api or IPFS_API asks for it.`

const examples = `  docker save nginx | converter
  docker save nginx | converter --ipfs-api http://127.0.0.1:5001
  converter -i nginx.tar --car nginx.car`

type flags struct {
	place
	output
	input       string
	onto        string
	from        string
	profile     string
	name        string
	tag         string
	compression string
	level       int
	recompress  bool
	noAdd       bool
	debug       bool
}

func newCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:           "converter [flags]",
		Short:         "Put container images on IPFS",
		Long:          description,
		Example:       examples,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.input, "input", "i", "-", "image archive to read, - for standard input")
	f.place.register(fs, true)
	fs.BoolVarP(&f.noAdd, "no-add", "n", false, "write images to a directory and print it")
	fs.StringVar(&f.profile, "cid-profile", unixfs.V1.String(), "how files become blocks: "+unixfs.V1.String()+" or "+unixfs.V0.String())
	fs.StringVar(&f.compression, "compression", string(converter.Gzip), "what plain layers become: gzip, or none to keep them as they are")
	fs.IntVar(&f.level, "level", converter.DefaultLevel, "level of gzip, 1 is fastest and 9 smallest; every level gives other addresses")
	fs.BoolVar(&f.recompress, "recompress", false, "make new versions cheap of layers that come compressed, too: their manifests change")
	fs.StringVar(&f.name, "name", "", "call the archive's one image this")
	fs.StringVar(&f.tag, "tag", "", "give it this tag")
	fs.StringVar(&f.onto, "onto", "", "add the images to what this `root` holds")
	fs.StringVar(&f.from, "from", "", "where that root is, if not where images go: a store's `directory`, a CAR file or a node's URL")
	f.output.register(fs)
	fs.BoolVarP(&f.debug, "debug", "d", false, "leave temporary files in place, and say where")
	cmd.MarkFlagsMutuallyExclusive("store", "ipfs-api", "car", "no-add")
	cmd.AddCommand(newImagesCommand(), newRemoveCommand(), newCollectCommand())
	cmd.AddCommand(newCopyCommand(), newNameCommand())
	return cmd
}

// noArgs refuses arguments, of which those that people try have answers.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if _, err := cidname.Parse(args[0]); err == nil {
		return fmt.Errorf("%s is an address already: pull it, or see `converter name`", args[0])
	} else if spelling, ok := errors.AsType[*cidname.SpellingError](err); ok {
		return spelling
	}
	return fmt.Errorf("unexpected %q: the archive is read from standard input, or from -i FILE", args[0])
}

func (f *flags) run(cmd *cobra.Command) error {
	profile, err := unixfs.ParseProfile(f.profile)
	if err != nil {
		return err
	}
	compression, err := converter.ParseCompression(f.compression)
	if err != nil {
		return err
	}
	switch level := cmd.Flags().Lookup("level"); {
	case f.level < 1 || f.level > converter.MaxLevel:
		return fmt.Errorf("--level %d: it is from 1 to %d", f.level, converter.MaxLevel)
	case level.Changed && compression != converter.Gzip:
		return fmt.Errorf("--level is of gzip, and --compression is %s", compression)
	}
	host, err := host(f.registry)
	if err != nil {
		return err
	}
	if err := f.place.check(cmd.Flags()); err != nil {
		return err
	}
	input, err := f.open(cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer input.Close()
	logf := f.logf(cmd.ErrOrStderr())
	onto, err := openBase(f.onto, f.from, f.place)
	if err != nil {
		return err
	}
	defer onto.close()
	dst, where, err := f.destination(logf)
	if err != nil {
		return err
	}
	result, err := convert(cmd.Context(), input, dst, converter.Options{
		Profile: profile, Compression: compression, Level: f.level, Recompress: f.recompress,
		Name: f.name, Tag: f.tag, Onto: onto.base(), Logf: logf,
	}, f.debug)
	if err != nil {
		return err
	}
	logf("stored in %s", where)
	if f.noAdd {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), where)
		return err
	}
	return f.print(cmd.OutOrStdout(), result, host)
}

func convert(ctx context.Context, input io.Reader, dst converter.Destination, o converter.Options, keep bool) (*converter.Result, error) {
	result, err := converter.Convert(ctx, input, dst, o)
	if keep {
		o.Logf("temporary files are in %s", dst.TempDir())
		return result, err
	}
	closed := dst.Close()
	if err != nil {
		return nil, err
	}
	return result, closed
}

func (f *flags) open(stdin io.Reader) (io.ReadCloser, error) {
	if f.input != "-" {
		file, err := os.Open(f.input)
		if err != nil {
			return nil, fmt.Errorf("opening the archive: %w", err)
		}
		return file, nil
	}
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, errors.New("the input is a terminal: pipe the output of `docker save IMAGE` into converter, or give -i FILE")
	}
	return io.NopCloser(stdin), nil
}

// destination returns where the flags say that images go, and what to call it.
func (f *flags) destination(logf func(string, ...any)) (converter.Destination, string, error) {
	if f.noAdd {
		return converter.ToDirectory()
	}
	return f.place.destination(logf)
}
