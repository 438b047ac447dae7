package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A storeFlag is the flag of commands that manage a store.
type storeFlag struct{ dir string }

func (f *storeFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "store", "", "use the store in this `directory` (default "+defaultStore()+")")
	_ = cmd.MarkFlagDirname("store")
}

// open returns the store. If the store has a root of its own and this process runs as root,
// the process becomes the store's owner.
func (f *storeFlag) open(fs *pflag.FlagSet) (*store.Store, error) {
	s, err := f.find(fs)
	if err != nil {
		return nil, err
	}
	return s, becomeOwner(s, false)
}

// openOwn is like open, for a store that will get a root of its own. The store need not
// exist.
func (f *storeFlag) openOwn(fs *pflag.FlagSet) (*store.Store, error) {
	if _, err := givenFlags(fs, "store"); err != nil {
		return nil, err
	}
	at, err := storeAt(f.dir)
	if err != nil {
		return nil, err
	}
	s := at.openStore()
	return s, becomeOwner(s, true)
}

// find returns the store without becoming its owner, to read from it.
func (f *storeFlag) find(fs *pflag.FlagSet) (*store.Store, error) {
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
everything at the address, whether or not other images share it.

If the store has a root of its own, its images are listed first, at the address of its
current state. The column ROOT shows which addresses are states of that root.`,
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
			all, err = markStates(cmd.Context(), s, all)
			damaged = errors.Join(damaged, err)
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

	// State is "current" or "earlier" if the root is a state of the store's own root.
	State string `json:"state,omitempty"`
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
			all = append(all, listedImage{addressOf(r, img), r.Root, img.Name, img.Tag, img.MediaType, img.Digest, r.Created, size, ""})
		}
	}
	return all
}

// The values of listedImage.State.
const (
	currentState = "current"
	earlierState = "earlier"
)

// markStates marks the images whose root is a state of the store's own root, and lists the
// images of the current state first.
func markStates(ctx context.Context, s *store.Store, all []listedImage) ([]listedImage, error) {
	var current *store.State
	marks := map[string]string{}
	err := s.Root().EachState(ctx, func(state store.State) bool {
		if current == nil {
			current = &state
		} else if address := origin.Address(state.Root); marks[address] == "" {
			marks[address] = earlierState
		}
		return true
	})
	if current == nil {
		return all, err
	}
	address := origin.Address(current.Root)
	marks[address] = currentState
	for i, img := range all {
		all[i].State = marks[img.Root]
	}
	images, listed := repository.New(s, repository.Config{}).Images(ctx, current.Root)
	first := listImages(ctx, s, []store.Record{{Root: address, Images: images, Created: current.Time}})
	if len(images) == 0 {
		first = nil
	}
	for i := range first {
		first[i].State = currentState
	}
	return append(first, all...), errors.Join(err, listed)
}

func printImages(w io.Writer, all []listedImage) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	hasRoot := slices.ContainsFunc(all, func(img listedImage) bool { return img.State != "" })
	header := "ADDRESS\tTAG\tCREATED\tSIZE"
	if hasRoot {
		header += "\tROOT"
	}
	fmt.Fprintln(t, header)
	for _, img := range all {
		tag, size := img.Tag, "-"
		if tag == "" {
			tag = "<none>"
		}
		if img.Size > 0 {
			size = humanize.Bytes(img.Size)
		}
		row := []string{oneLine(img.Address), oneLine(tag), humanize.Time(img.Created), size}
		if hasRoot {
			row = append(row, cmp.Or(img.State, "-"))
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}
