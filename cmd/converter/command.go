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
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const description = `Converter puts container images on IPFS: into a store on disk, from which the
Caddy module ipfs_registry serves them, or wherever a flag says. It prints the
references to pull, one on each line.

Images are read from an archive on standard input, as docker save writes it, or from
one of these sources:

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

// A conversion is the root command.
type conversion struct {
	transferFlags // from where the root of --onto is
	output
	input       string
	platform    string
	srcVerify   bool
	onto        string
	profile     string
	name        string
	tag         string
	compression string
	level       int
	recompress  bool
	debug       bool
}

func newCommand() *cobra.Command {
	var c conversion
	cmd := &cobra.Command{
		Use:           "converter [SOURCE] [flags]",
		Short:         "Put container images on IPFS",
		Long:          description,
		Example:       examples,
		Args:          checkArguments,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&c.input, "input", "i", "-", "read this archive; - is standard input")
	fs.StringVar(&c.platform, "platform", "", "take only the images for this platform, `os/arch[/variant]` (default all)")
	fs.BoolVar(&c.srcVerify, "src-tls-verify", true, "verify the TLS certificate of the registry that images are read from")
	c.to.register(cmd)
	c.to.registerPlain(fs)
	fs.StringVar(&c.profile, "cid-profile", unixfs.V1.String(), "how files become blocks: "+unixfs.V1.String()+" or "+unixfs.V0.String())
	fs.StringVar(&c.compression, "compression", string(blob.Gzip), "how uncompressed layers are stored: gzip, or none to keep them as they are")
	fs.IntVar(&c.level, "level", blob.DefaultLevel, "gzip level, from 1 (fastest) to 9 (smallest); each level gives other addresses")
	fs.BoolVar(&c.recompress, "recompress", false, "also realign layers that are already compressed (changes the manifest digest)")
	fs.StringVar(&c.name, "name", "", "store the archive's only image under this `name`")
	fs.StringVar(&c.tag, "tag", "", "store the archive's only image under this `tag`")
	fs.StringVar(&c.onto, "onto", "", "add the images to those of this `root`; \"root\" is the store's own root, which changes")
	c.source.register(cmd)
	fs.Lookup("from").Usage = "read the root of --onto from this `place`: " + placeForms + " (default where images are written)"
	fs.Lookup("gateway").Usage = "read the root of --onto from the IPFS gateway at this `URL`; may be repeated"
	c.output.register(fs)
	fs.BoolVarP(&c.debug, "debug", "d", false, "keep temporary files and print where they are; in a store, the next converter or gc removes them")
	_ = cmd.MarkFlagFilename("input")
	_ = cmd.RegisterFlagCompletionFunc("onto", completeOnto)
	cmd.SetFlagErrorFunc(explainFlag)
	cmd.AddCommand(newImagesCommand(), newRemoveCommand(), newCollectCommand())
	cmd.AddCommand(newLogCommand(), newRollbackCommand(), newKeyCommand(), newPublishCommand())
	cmd.AddCommand(newCopyCommand(), newExportCommand(), newNameCommand())
	cmd.AddCommand(newInspectCommand(), newVerifyCommand(), newRepairCommand())
	return cmd
}

func (c *conversion) run(cmd *cobra.Command, args []string) error {
	o, err := c.parse(cmd, args)
	if err != nil {
		return err
	}
	if err := c.start(cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer c.stop()
	from, to, err := c.places(cmd.Flags())
	if err != nil {
		return err
	}
	src, err := openSource(args, c.input, c.srcVerify, cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer src.Close()
	o.Image = src.image
	if !c.source.isGiven(cmd.Flags()) {
		from = to.asBase()
	}
	onto, err := openBase(c.onto, from, c.logf)
	if err != nil {
		return err
	}
	defer onto.close()
	o.Onto = onto.Base
	dst, where, err := to.destinationOnto(c.onto, "convert", c.mostCounted(), c.logf)
	if err != nil {
		return err
	}
	o.Progress, o.Logf = c.progress(), c.logf
	result, err := c.convert(cmd.Context(), src.Source, dst, o)
	if err != nil {
		return err
	}
	switch n := result.Compressed; n {
	case 0:
	case 1:
		c.logf("1 layer came compressed and is kept as it is: --recompress makes new versions of it cheap")
	default:
		c.logf("%d layers came compressed and are kept as they are: --recompress makes new versions of them cheap", n)
	}
	if to.kind == directoryPlace && !c.json {
		c.stop()
		_, err := fmt.Fprintln(cmd.OutOrStdout(), where)
		return err
	}
	return c.print(cmd.OutOrStdout(), result, where)
}

// parse reads the flags that change what is written.
func (c *conversion) parse(cmd *cobra.Command, args []string) (o converter.Options, err error) {
	o = converter.Options{Level: c.level, Recompress: c.recompress, Name: c.name, Tag: c.tag}
	if o.Profile, err = unixfs.ParseProfile(c.profile); err != nil {
		return o, err
	}
	if o.Compression, err = blob.ParseCompression(c.compression); err != nil {
		return o, err
	}
	if c.platform != "" {
		if o.Platform, err = platform.Parse(c.platform); err != nil {
			return o, err
		}
	}
	switch changed := cmd.Flags().Changed; {
	case c.level < 1 || c.level > blob.MaxLevel:
		err = fmt.Errorf("--level %d: give a level from 1 to %d", c.level, blob.MaxLevel)
	case changed("level") && o.Compression != blob.Gzip:
		err = fmt.Errorf("--level is for gzip, and --compression is %s", o.Compression)
	case c.onto == ontoRoot && c.source.isGiven(cmd.Flags()):
		err = errors.New("--from and --gateway say where the root of --onto is, and --onto root is that of the store that images are written to")
	case c.onto == ontoRoot && o.Profile.String() != unixfs.V1.String():
		err = fmt.Errorf("--cid-profile %s is for roots of their own, and the store's own root has %s", o.Profile, unixfs.V1)
	case c.source.isGiven(cmd.Flags()) && c.onto == "":
		err = errors.New("--from and --gateway say where the root of --onto is, and --onto is missing")
	case changed("src-tls-verify") && (len(args) == 0 || !strings.HasPrefix(args[0], "docker://")):
		err = errors.New("--src-tls-verify is for images from a registry, and the source is not docker://")
	}
	return o, err
}

func (c *conversion) convert(ctx context.Context, src source.Source, dst converter.Destination, o converter.Options) (*converter.Result, error) {
	result, err := converter.Convert(ctx, src, dst, o)
	if c.debug {
		o.Logf("temporary files are in %s", dst.TempDir())
		return result, err
	}
	closed := dst.Close()
	if err != nil {
		return nil, err
	}
	return result, closed
}

// version returns the module's version, if the program was built with one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
