package main

import (
	"encoding/json"
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
	place
	json bool
}

func newInspectCommand() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect [REF]",
		Short: "Show what images are made of, and what of that a store has already",
		Long: `Inspect shows the tags, platforms, configs and layers of images, their digests,
CIDs and sizes, and how many of their leaves the store has in other images. It reads
no layer.

REF is an address as converter prints it, with or without a registry host, a name
and a tag; it may be left out where a CAR file with one root is read. The store is
where the image is or, beside --car, --ipfs-api or --gateway, what that image is compared with.

With --json: root, cids (all spellings of the root), store, and images, each with
name, tags, mediaType, digest, cid, missing (what an index names and is not there),
size and leaves (of all blobs), shared (size and leaves of those that the store has)
and manifests; of these platform, mediaType, digest, size, cid, config and layers;
and of a config or layer mediaType, digest, cid, size, leaves and shared. Sizes are
bytes.`,
		Example: `  converter inspect ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy
  converter inspect --car nginx.car --store /srv/images --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	f.compared = true
	f.registerFrom(fs)
	fs.BoolVar(&f.json, "json", false, "print all of it as JSON")
	return cmd
}

func (f *inspectFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(cmd.Flags()); err != nil {
		return err
	}
	f.warnf = logTo(cmd.ErrOrStderr())
	from, err := f.image(args)
	if err != nil {
		return err
	}
	defer from.Close()
	with, err := f.comparison()
	if err != nil {
		return err
	}
	i, err := inspect.Images(cmd.Context(), from.Origin, from.ref.root, from.ref.selection(), with)
	if err != nil {
		return fmt.Errorf("inspecting what is in %s: %w", from, err)
	}
	if i.CIDs, err = spellings(from.ref.root); err != nil {
		return err
	}
	if f.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "\t")
		return e.Encode(i)
	}
	return printInspection(cmd.OutOrStdout(), i)
}

// comparison returns what to compare images with: the store that they are in, or
// the one that is named beside where they are.
func (f *inspectFlags) comparison() (*inspect.Comparison, error) {
	same := f.api == "" && f.car == ""
	if !same && f.store == "" {
		return nil, nil
	}
	dir, err := f.dir()
	return &inspect.Comparison{Store: store.Open(dir), Same: same}, err
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
		field("Size", fmt.Sprintf("%s in %d leaves", size(img.Size), img.Leaves.Leaves))
		if img.Shared != nil {
			field("Shared", fmt.Sprintf("%s in %d leaves, with other images in %s", size(img.Shared.Size), img.Shared.Leaves, i.Store))
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

// printManifest prints a manifest that is one of several, or the image.
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
		shared = fmt.Sprintf("%d, %s", b.Shared.Leaves, size(b.Shared.Size))
	}
	cid := b.CID
	if cid == "" {
		cid = "not there"
	}
	mediaType := strings.TrimPrefix(strings.TrimPrefix(b.MediaType, "application/"), "vnd.")
	fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%s\t%s\t%s\n", what, size(b.Size), b.Leaves.Leaves, shared, oneLine(mediaType), b.Digest, cid)
}

func platformName(p *v1.Platform) string {
	if p == nil {
		return "no platform"
	}
	return platform.From(*p).String()
}
