package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/export"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

type exportFlags struct {
	place    // where from
	file     string
	platform string
	quiet    bool
}

func newExportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export [REF]",
		Short: "Write images as an archive, for docker load and the like",
		Long: `Export writes the images of REF as one archive that Docker, podman, skopeo and
containerd load without any registry. Every byte is verified on its way out.

REF is an address as converter prints it, with or without a registry host. A
name, tag or digest chooses among the images there. It may be left out where a
CAR file with one root is read.`,
		Example: `  converter export ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy | docker load
  converter export localhost:5000/ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/nginx:1.27 -o nginx.tar
  converter export --car nginx.car --platform linux/arm64 | podman load`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.file, "output", "o", "-", "archive to write, - for standard output")
	f.registerFrom(fs)
	fs.StringVar(&f.platform, "platform", "", "write only the image for this `os/arch[/variant]`, and not the index that it is in")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "do not say what is left out")
	return cmd
}

func (f *exportFlags) run(cmd *cobra.Command, args []string) error {
	f.warnf = logTo(cmd.ErrOrStderr())
	var o export.Options
	if !f.quiet {
		o.Logf = f.warnf
	}
	if f.platform != "" {
		var err error
		if o.Platform, err = platform.Parse(f.platform); err != nil {
			return err
		}
	}
	if err := f.check(cmd.Flags()); err != nil {
		return err
	}
	stdout := cmd.OutOrStdout()
	if file, ok := stdout.(*os.File); ok && f.file == "-" && term.IsTerminal(int(file.Fd())) {
		return errors.New("the output is a terminal: pipe it into `docker load`, or give -o FILE")
	}
	from, err := f.image(args)
	if err != nil {
		return err
	}
	defer from.Close()
	o.Name, o.Reference = from.ref.name, from.ref.tag
	return f.export(cmd.Context(), from, stdout, o)
}

// export does not wait for a reader of standard output that does not read, when
// it is to end.
func (f *exportFlags) export(ctx context.Context, from storedImage, stdout io.Writer, o export.Options) error {
	if f.file != "-" {
		return export.ToFile(ctx, from.Origin, from.ref.root, f.file, o)
	}
	done := make(chan error, 1)
	go func() { done <- export.Images(ctx, from.Origin, from.ref.root, stdout, o) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
