package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/inspect"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

type inspectFlags struct {
	source sourceFlags
	json   bool
}

func newInspectCommand() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect [REF]",
		Short: "Show what images consist of, and how much of them a store already has",
		Long: `Inspect shows the tags, platforms, configs and layers of images, their digests,
CIDs and sizes, and how many of their leaves a store has in other images. It reads no
layer.

REF is an address as converter prints it, with or without a registry host, a name
and a tag. It may be left out if --from is a CAR file with one root. An image in a
store is compared with the other images there. An image elsewhere is compared with
the store of --store, if that is given.

The output of --json has the fields root, cids (all spellings of the root), store,
and images. An image has name, tags, mediaType, digest, cid, missing (manifests that
an index lists but the root lacks), size and leaves (of all blobs), shared (size
and leaves of those that the store has) and manifests. A manifest has platform,
mediaType, digest, size, cid, config and layers. A config or layer has mediaType,
digest, cid, size, leaves and shared. Sizes are in bytes.`,
		Example: `  converter inspect ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy
  converter inspect --from nginx.car --store /srv/images --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeReferences,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	f.source.registerReadOnly(cmd)
	fs.Lookup("store").Usage = "compare with the store in this `directory`, which is also the place to read from if no other is given"
	fs.BoolVar(&f.json, "json", false, "print everything as JSON")
	return cmd
}

func (f *inspectFlags) run(cmd *cobra.Command, args []string) error {
	at, err := f.source.place(cmd.Flags(), "store")
	if err != nil {
		return err
	}
	from, err := at.open(args, logTo(cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	defer from.Close()
	i, err := inspect.Inspect(cmd.Context(), from.Origin, from.root, from.Selection, f.comparison(at))
	if err != nil {
		return fmt.Errorf("inspecting what is in %s: %w", from, err)
	}
	if i.CIDs, err = spellings(from.root); err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), i, "\t")
	}
	return printInspection(cmd.OutOrStdout(), i)
}

// comparison returns the store that images at a place are compared with: the one
// that they are in, or the one that --store names beside another place. It is nil
// if there is neither.
func (f *inspectFlags) comparison(at place) *inspect.Comparison {
	switch {
	case f.source.store != "" && !at.isStoreIn(f.source.store):
		return &inspect.Comparison{Store: store.Open(f.source.store)}
	case at.isStore():
		return &inspect.Comparison{Store: at.openStore(), Same: true}
	}
	return nil
}

func printInspection(w io.Writer, i *inspect.Inspection) error {
	for n, img := range i.Images {
		if n > 0 {
			fmt.Fprintln(w)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		field := func(name, value string) { fmt.Fprintf(t, "%s:\t%s\n", name, oneLine(value)) }
		field("Address", strings.TrimSuffix(i.Root+"/"+img.Name, "/"))
		if len(img.Tags) > 0 {
			field("Tags", strings.Join(img.Tags, ", "))
		}
		field("Type", img.MediaType)
		field("Digest", img.Digest.String())
		field("CID", img.CID)
		field("Size", fmt.Sprintf("%s in %d leaves", formatSize(img.Size), img.Leaves.Leaves))
		if img.Shared != nil {
			field("Shared", fmt.Sprintf("%s in %d leaves, with other images in %s", formatSize(img.Shared.Size), img.Shared.Leaves, i.Store))
		}
		for _, d := range img.Missing {
			field("Missing", fmt.Sprintf("%s  %s", platformName(d.Platform), d.Digest))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, m := range img.Manifests {
			if err := printManifest(w, m, m.Digest != img.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// printManifest prints a manifest: one of several of an index, or the image's only
// one.
func printManifest(w io.Writer, m inspect.Manifest, several bool) error {
	fmt.Fprintf(w, "\n%s", oneLine(platformName(m.Platform)))
	if several {
		fmt.Fprintf(w, "  %s  %s", m.Digest, m.CID)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  \tSIZE\tLEAVES\tSHARED\tTYPE\tDIGEST\tCID")
	if m.Config != nil {
		printBlob(t, "config", *m.Config)
	}
	for n, l := range m.Layers {
		printBlob(t, fmt.Sprintf("layer %d", n+1), l)
	}
	return t.Flush()
}

func printBlob(w io.Writer, what string, b inspect.Blob) {
	shared := "-"
	if b.Shared != nil && b.Shared.Leaves > 0 {
		shared = fmt.Sprintf("%d, %s", b.Shared.Leaves, formatSize(b.Shared.Size))
	}
	cid := b.CID
	if cid == "" {
		cid = "missing"
	}
	mediaType := strings.TrimPrefix(strings.TrimPrefix(b.MediaType, "application/"), "vnd.")
	fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%s\t%s\t%s\n", what, formatSize(b.Size), b.Leaves.Leaves, shared, oneLine(mediaType), b.Digest, cid)
}

func platformName(p *v1.Platform) string {
	if p == nil {
		return "no platform"
	}
	return platform.From(*p).String()
}
