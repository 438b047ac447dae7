package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A storeFlag is the flag of commands that are about a store alone.
type storeFlag struct{ place }

func (f *storeFlag) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.store, "store", "", "the store in this `directory` (default "+defaultStore()+")")
}

func (f *storeFlag) open(fs *pflag.FlagSet) (*store.Store, error) {
	if err := f.check(fs); err != nil {
		return nil, err
	}
	dir, err := f.dir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); fs.Changed("store") && err != nil {
		return nil, fmt.Errorf("there is no store in %s", dir)
	}
	return store.Open(dir), nil
}

func newImagesCommand() *cobra.Command {
	var (
		f      storeFlag
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "images",
		Short: "List the images of a store",
		Long: `Images lists what a store holds, the newest first. An address is what to pull,
with the registry's host before it and the tag after it. A size is that of the
whole address, whatever other images share with it.`,
		Example: `  converter images
  converter images --store /srv/images --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			records, damaged := s.Images(cmd.Context())
			all := list(cmd.Context(), s, records)
			if asJSON {
				err = printImagesJSON(cmd.OutOrStdout(), all)
			} else {
				err = printImages(cmd.OutOrStdout(), all)
			}
			if err != nil {
				return err
			}
			return damaged
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all that is known of them, as JSON")
	return cmd
}

// A listedImage is one line of what a store holds.
type listedImage struct {
	Address   string        `json:"address"` // to pull, without host and tag
	Root      string        `json:"root"`
	Name      string        `json:"name,omitempty"`
	Tag       string        `json:"tag,omitempty"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Created   time.Time     `json:"created"`
	Size      uint64        `json:"size,omitempty"` // bytes; 0 where it cannot be read
}

func list(ctx context.Context, s *store.Store, records []store.Record) []listedImage {
	all := []listedImage{}
	for _, r := range records {
		root, err := cidname.ParseAny(r.Root)
		if err != nil {
			continue // no record of a store has such a root
		}
		for _, img := range r.Images {
			size, err := s.Size(ctx, root, img.Name)
			if err != nil {
				size = 0
			}
			all = append(all, listedImage{addressOf(r, img), r.Root, img.Name, img.Tag, img.MediaType, img.Digest, r.Created, size})
		}
	}
	return all
}

// addressOf is what to pull, without host and tag.
func addressOf(r store.Record, img store.Image) string {
	if img.Name == "" {
		return r.Root
	}
	return r.Root + "/" + img.Name
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

func printImagesJSON(w io.Writer, all []listedImage) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(all)
}
