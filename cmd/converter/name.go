package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

func newNameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "name CID",
		Short: "Print a CID in all its spellings",
		Long: `Name prints all spellings of a CID that are in use, given any of them. Image
names can hold the first and the last three.`,
		Example: "  converter name QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a",
		Args:    cobra.MatchAll(addresses, cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cidname.ParseAny(args[0])
			if address, other := parseAddress(args[0]); err != nil && other == nil {
				c, err = address.root, nil
			}
			if err != nil {
				return err
			}
			spellings, err := cidname.Spellings(c)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range spellings {
				fmt.Fprintf(w, "%s\t%s\n", s.Form, s.Text)
			}
			return w.Flush()
		},
	}
}
