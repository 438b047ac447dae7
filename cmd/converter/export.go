package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/export"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

type exportFlags struct {
	source   sourceFlags
	file     string
	platform string
	quiet    bool
}

func newExportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export [REF]",
		Short: "Write images as an archive, for docker load and others",
		Long: `Export writes the images of REF as one archive that Docker, podman, skopeo and
containerd load without a registry. Every byte is verified before it is written.

REF is an address as converter prints it, with or without a registry host. A name,
tag or digest in it selects among the images there. REF may be left out if --from is
a CAR file with one root.`,
		Example: `  converter export ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy | docker load
  converter export localhost:5000/ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/nginx:1.27 -o nginx.tar
  converter export --from nginx.car --platform linux/arm64 | podman load`,
		Args:              oneReferenceAndNoFile,
		ValidArgsFunction: completeReferences,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.file, "output", "o", "-", "write the archive to this `file`; - is standard output")
	f.source.registerReadOnly(cmd)
	fs.StringVar(&f.platform, "platform", "", "write the image for this platform, `os/arch[/variant]`, instead of the index that lists it")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "do not report what is left out")
	return cmd
}

// oneReferenceAndNoFile is a cobra.PositionalArgs that wants at most one REF. A second
// argument is most likely the file to write.
func oneReferenceAndNoFile(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("export takes one REF: give the file to write as -o %s", args[1])
	}
	return nil
}

func (f *exportFlags) run(cmd *cobra.Command, args []string) error {
	logf := logTo(cmd.ErrOrStderr())
	var o export.Options
	if !f.quiet {
		o.Logf = logf
	}
	if f.platform != "" {
		var err error
		if o.Platform, err = platform.Parse(f.platform); err != nil {
			return err
		}
	}
	at, err := f.source.place(cmd.Flags())
	if err != nil {
		return err
	}
	stdout := cmd.OutOrStdout()
	if file, ok := stdout.(*os.File); ok && f.file == "-" && term.IsTerminal(int(file.Fd())) {
		return errors.New("the output is a terminal: pipe it into `docker load`, or give -o FILE")
	}
	from, err := at.open(args, logf)
	if err != nil {
		return err
	}
	defer from.Close()
	o.Selection = from.Selection
	return f.export(cmd.Context(), from, stdout, o)
}

// export returns when the context is done, even if standard output is a pipe that
// nothing reads.
func (f *exportFlags) export(ctx context.Context, from storedImage, stdout io.Writer, o export.Options) error {
	if f.file != "-" {
		return export.WriteFile(ctx, from.Origin, from.root, f.file, o)
	}
	done := make(chan error, 1)
	go func() { done <- export.WriteArchive(ctx, from.Origin, from.root, stdout, o) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
