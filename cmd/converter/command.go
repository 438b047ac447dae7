package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const description = `Converter puts container images on IPFS: into a store on disk, from which the
Caddy module ipfs_registry serves them, or where a flag says. It prints the
references to pull, one a line.

Images come from an archive, as docker save writes it, on standard input; or from
one of these:

  docker-daemon:NAME[:TAG]            a running Docker
  docker://[HOST/]NAME[:TAG|@DIGEST]  a registry
  docker-archive:FILE[:NAME:TAG]      an archive of docker save
  oci-archive:FILE[:TAG]              an archive of an OCI layout
  oci:DIRECTORY[:TAG]                 an OCI layout

Nothing is published unless --ipfs-api or IPFS_API asks for it.`

const examples = `  docker save nginx | converter
  converter docker://nginx:1.27 --platform linux/amd64
  docker save nginx | converter --ipfs-api http://127.0.0.1:5001
  converter -i nginx.tar --car nginx.car`

type flags struct {
	place
	output
	input       string
	platform    string
	srcVerify   bool
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
		Use:           "converter [SOURCE] [flags]",
		Short:         "Put container images on IPFS",
		Long:          description,
		Example:       examples,
		Args:          cobra.MaximumNArgs(1),
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.input, "input", "i", "-", "image archive to read, - for standard input")
	fs.StringVar(&f.platform, "platform", "", "take the image for this platform, `os/arch[/variant]`, of several (default all)")
	fs.BoolVar(&f.srcVerify, "src-tls-verify", true, "have the registry that images come from prove who it is")
	f.registerTo(fs)
	fs.BoolVarP(&f.noAdd, "no-add", "n", false, "write images to a directory and print it")
	fs.StringVar(&f.profile, "cid-profile", unixfs.V1.String(), "how files become blocks: "+unixfs.V1.String()+" or "+unixfs.V0.String())
	fs.StringVar(&f.compression, "compression", string(blob.Gzip), "what plain layers become: gzip, or none to keep them as they are")
	fs.IntVar(&f.level, "level", blob.DefaultLevel, "level of gzip, 1 is fastest and 9 smallest; every level gives other addresses")
	fs.BoolVar(&f.recompress, "recompress", false, "make new versions cheap of layers that come compressed, too: their manifests change")
	fs.StringVar(&f.name, "name", "", "call the archive's one image this")
	fs.StringVar(&f.tag, "tag", "", "give it this tag")
	fs.StringVar(&f.onto, "onto", "", "add the images to what this `root` holds")
	fs.StringVar(&f.from, "from", "", "where that root is, if not where images go: a store's `directory`, a CAR file or a node's URL")
	f.register(fs)
	fs.BoolVarP(&f.debug, "debug", "d", false, "leave temporary files in place, and say where: in a store, until a converter or gc next uses it")
	cmd.AddCommand(newImagesCommand(), newRemoveCommand(), newCollectCommand())
	cmd.AddCommand(newCopyCommand(), newExportCommand(), newNameCommand())
	cmd.AddCommand(newInspectCommand(), newVerifyCommand(), newRepairCommand())
	complete(cmd)
	return cmd
}

func (f *flags) run(cmd *cobra.Command, args []string) error {
	profile, err := unixfs.ParseProfile(f.profile)
	if err != nil {
		return err
	}
	compression, err := blob.ParseCompression(f.compression)
	if err != nil {
		return err
	}
	switch level := cmd.Flags().Lookup("level"); {
	case f.level < 1 || f.level > blob.MaxLevel:
		return fmt.Errorf("--level %d: it is from 1 to %d", f.level, blob.MaxLevel)
	case level.Changed && compression != blob.Gzip:
		return fmt.Errorf("--level is of gzip, and --compression is %s", compression)
	}
	if err := f.start(cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer f.stop()
	if err := f.check(cmd.Flags()); err != nil {
		return err
	}
	platform, err := f.parsePlatform()
	if err != nil {
		return err
	}
	src, err := f.source(args, cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer src.Close()
	if f.from != "" && f.onto == "" {
		return errors.New("--from says where the root of --onto is, and there is no --onto")
	}
	if cmd.Flags().Changed("src-tls-verify") && (len(args) == 0 || !strings.HasPrefix(args[0], "docker://")) {
		return errors.New("--src-tls-verify is about a registry that images come from, and none is named")
	}
	onto, err := openBase(f.onto, f.from, f.place)
	if err != nil {
		return err
	}
	defer onto.close()
	dst, where, err := f.destination(f.logf)
	if err != nil {
		return err
	}
	result, err := convert(cmd.Context(), src, dst, f.options(converter.Options{
		Profile: profile, Compression: compression, Level: f.level, Recompress: f.recompress,
		Platform: platform, Name: f.name, Tag: f.tag, Onto: onto.base(),
	}), f.debug)
	if err != nil {
		return err
	}
	if f.noAdd && !f.json {
		f.stop()
		_, err := fmt.Fprintln(cmd.OutOrStdout(), where)
		return err
	}
	return f.print(cmd.OutOrStdout(), result, where)
}

func convert(ctx context.Context, src converter.Source, dst converter.Destination, o converter.Options, keep bool) (*converter.Result, error) {
	result, err := converter.Convert(ctx, src, dst, o)
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

// destination returns where the flags say that images go, and what to call it.
func (f *flags) destination(logf func(string, ...any)) (converter.Destination, string, error) {
	if !f.noAdd {
		return f.place.destination(logf)
	}
	dst, err := destination.ToDirectory()
	if err != nil {
		return nil, "", err
	}
	return dst, dst.Path(), nil
}

// version is that of the module, as far as the program was built with one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
