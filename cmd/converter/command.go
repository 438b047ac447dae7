package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/distribution/reference"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
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
	input    string
	registry string
	store    string
	api      string
	token    string
	car      string
	profile  string
	name     string
	tag      string
	noAdd    bool
	quiet    bool
	debug    bool
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
	fs.StringVarP(&f.registry, "registry", "r", "http://localhost:5000", "registry to print in the references")
	fs.StringVar(&f.store, "store", "", "put images into the store in this `directory` (default "+defaultStore()+")")
	fs.StringVar(&f.api, "ipfs-api", "", "put images into the Kubo node with this RPC `URL` and pin them (default $IPFS_API)")
	fs.StringVar(&f.token, "ipfs-api-token", "", "bearer `token` for the node's API")
	fs.StringVar(&f.car, "car", "", "write images to this CAR `file`")
	fs.BoolVarP(&f.noAdd, "no-add", "n", false, "write images to a directory and print it")
	fs.StringVar(&f.profile, "cid-profile", unixfs.V1.String(), "how files become blocks: "+unixfs.V1.String()+" or "+unixfs.V0.String())
	fs.StringVar(&f.name, "name", "", "call the archive's one image this")
	fs.StringVar(&f.tag, "tag", "", "give it this tag")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "print references and errors only")
	fs.BoolVarP(&f.debug, "debug", "d", false, "leave temporary files in place, and say where")
	cmd.MarkFlagsMutuallyExclusive("store", "ipfs-api", "car", "no-add")
	cmd.AddCommand(newNameCommand())
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
	host, err := host(f.registry)
	if err != nil {
		return err
	}
	for _, name := range []string{"store", "ipfs-api", "car"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
			return fmt.Errorf("--%s has no value", name)
		}
	}
	input, err := f.open(cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer input.Close()
	logf := f.logf(cmd.ErrOrStderr())
	dst, where, err := f.destination(logf)
	if err != nil {
		return err
	}
	result, err := convert(cmd.Context(), input, dst, converter.Options{Profile: profile, Name: f.name, Tag: f.tag, Logf: logf}, f.debug)
	if err != nil {
		return err
	}
	logf("stored in %s", where)
	if f.noAdd {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), where)
		return err
	}
	return printReferences(cmd.OutOrStdout(), result, host)
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

func printReferences(w io.Writer, result *converter.Result, host string) error {
	references, err := result.References(host)
	if err != nil {
		return err
	}
	for _, ref := range references {
		if _, err := fmt.Fprintln(w, ref); err != nil {
			return err
		}
	}
	return nil
}

// host is a registry's URL as image references begin, if they can.
func host(registry string) (string, error) {
	host := registry
	if _, rest, found := strings.Cut(registry, "://"); found {
		host = rest
	}
	host = strings.TrimRight(host, "/")
	named, err := reference.ParseNormalizedNamed(host + "/image")
	if err != nil || reference.Domain(named) != host || host != strings.ToLower(host) {
		return "", errors.New("--registry is not what a reference can begin with: give a host name with a dot or a port, such as localhost:5000")
	}
	return host, nil
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
	api := f.api
	if api == "" && f.store == "" && f.car == "" && !f.noAdd {
		api = os.Getenv("IPFS_API")
	}
	switch {
	case api == "" && f.token != "":
		return nil, "", errors.New("--ipfs-api-token is for a node, and neither --ipfs-api nor IPFS_API names one")
	case api != "":
		dst, err := converter.ToKubo(api, f.token, logf)
		return dst, "the IPFS node", err
	case f.car != "":
		dst, err := converter.ToCAR(f.car)
		return dst, f.car, err
	case f.noAdd:
		return converter.ToDirectory()
	}
	dir := f.store
	if dir == "" {
		var err error
		if dir, err = store.DefaultDir(); err != nil {
			return nil, "", err
		}
	}
	dst, err := converter.ToStore(dir)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: name a directory of yours with --store, and to Caddy", err)
	}
	return dst, dir, err
}

func defaultStore() string {
	dir, err := store.DefaultDir()
	if err != nil {
		return "none: " + err.Error()
	}
	return dir
}

func (f *flags) logf(w io.Writer) func(string, ...any) {
	if f.quiet {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintln(w, oneLine(fmt.Sprintf(format, args...))) }
}
