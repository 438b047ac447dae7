package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newPublishCommand() *cobra.Command {
	var (
		f      storeFlag
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "publish",
		Short: "Sign a new IPNS record of a store's own root",
		Long: `Publish signs a new IPNS record of a store's own root, and prints its content. The
record is valid for 48 hours.

A running Caddy with the option push or root renews the record in time. If none runs,
run publish every day. Publish only writes the record to the store: it does not send
the record to an IPFS node.`,
		Example: `  converter publish
  converter publish --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			if err := checkPublishable(s); err != nil {
				return inStore(s, err)
			}
			signed, err := s.Root().Publish(cmd.Context())
			if err != nil {
				return inStore(s, err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), describeRecord(signed), "\t")
			}
			return printRecord(cmd.OutOrStdout(), signed)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the record as JSON")
	return cmd
}

// checkPublishable returns an error if the root has no state or no key.
func checkPublishable(s *store.Store) error {
	_, err := s.Root().Current()
	if errors.Is(err, store.ErrLacking) {
		return fmt.Errorf("the store %s has no root of its own: `converter --onto root` adds images to it", s.Dir())
	}
	if err != nil {
		return err
	}
	_, err = s.Root().Key()
	if _, had := s.Root().Name(); had && errors.Is(err, store.ErrLacking) {
		return fmt.Errorf("the key of the root of %s is missing: take it from a backup, with `converter key import`, or make another one, with `converter key rotate`", s.Dir())
	}
	if errors.Is(err, store.ErrLacking) {
		return fmt.Errorf("the own root of the store %s has no key: `converter key` makes one", s.Dir())
	}
	return err
}

// A publishedRecord is a record as --json prints it.
type publishedRecord struct {
	Name     string    `json:"name"`
	Value    string    `json:"value"`
	Sequence uint64    `json:"sequence"`
	Expires  time.Time `json:"expires"`
	TTL      float64   `json:"ttlSeconds"`
}

func describeRecord(r store.SignedRecord) publishedRecord {
	return publishedRecord{r.Name, "/ipfs/" + r.Root.String(), r.Sequence, r.Expires.UTC(), r.TTL.Seconds()}
}

func printRecord(w io.Writer, r store.SignedRecord) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "name\t%s\n", r.Name)
	fmt.Fprintf(t, "value\t/ipfs/%s\n", r.Root)
	fmt.Fprintf(t, "sequence\t%d\n", r.Sequence)
	fmt.Fprintf(t, "valid until\t%s\n", r.Expires.Local().Format(time.RFC3339))
	fmt.Fprintf(t, "TTL\t%s\n", r.TTL)
	return t.Flush()
}
