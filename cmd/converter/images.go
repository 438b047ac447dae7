package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A storeFlag is the flag of commands that manage a store.
type storeFlag struct{ dir string }

func (f *storeFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "store", "", "use the store in this `directory` (default "+defaultStore()+")")
	_ = cmd.MarkFlagDirname("store")
}

func (f *storeFlag) open(fs *pflag.FlagSet) (*store.Store, error) {
	given, err := givenFlags(fs, "store")
	if err != nil {
		return nil, err
	}
	at, err := storeAt(f.dir)
	if err != nil {
		return nil, err
	}
	s := at.openStore()
	if len(given) > 0 && !s.Exists() {
		return nil, fmt.Errorf("there is no store in %s", at.path)
	}
	return s, nil
}

func newImagesCommand() *cobra.Command {
	var (
		f      storeFlag
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "images",
		Short: "List the images of a store",
		Long: `Images lists the images of a store, the newest first. To pull one, put the
registry's host before its address and its tag after it. A size is that of
everything at the address, whether or not other images share it.`,
		Example: `  converter images
  converter images --store /srv/images --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			records, damaged := s.Images(cmd.Context())
			all := listImages(cmd.Context(), s, records)
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), all, "\t")
			} else {
				err = printImages(cmd.OutOrStdout(), all)
			}
			if err != nil {
				return err
			}
			return damaged
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything known about the images as JSON")
	return cmd
}

// A listedImage is an image of a store.
type listedImage struct {
	Address   string        `json:"address"` // to pull, without host and tag
	Root      string        `json:"root"`
	Name      string        `json:"name,omitempty"`
	Tag       string        `json:"tag,omitempty"`
	MediaType string        `json:"mediaType,omitempty"`
	Digest    digest.Digest `json:"digest,omitempty"`
	Created   time.Time     `json:"created"`
	Size      uint64        `json:"size,omitempty"` // bytes; 0 if it cannot be read
}

func listImages(ctx context.Context, s *store.Store, records []store.Record) []listedImage {
	all := []listedImage{}
	for _, r := range records {
		root, err := cidname.ParseAny(r.Root)
		if err != nil {
			continue // a store has no such record
		}
		images := r.Images
		if len(images) == 0 { // a root that was copied without images
			images = []layout.Tagged{{}}
		}
		for _, img := range images {
			size, err := s.Size(ctx, root, img.Name)
			if err != nil {
				size = 0
			}
			all = append(all, listedImage{addressOf(r, img), r.Root, img.Name, img.Tag, img.MediaType, img.Digest, r.Created, size})
		}
	}
	return all
}

func printImages(w io.Writer, all []listedImage) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "ADDRESS\tTAG\tCREATED\tSIZE")
	for _, img := range all {
		tag, size := img.Tag, "-"
		if tag == "" {
			tag = "<none>"
		}
		if img.Size > 0 {
			size = humanize.Bytes(img.Size)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", oneLine(img.Address), oneLine(tag), humanize.Time(img.Created), size)
	}
	return t.Flush()
}
