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
		Short: "Print all spellings of a CID",
		Long: `Name reads a CID in any spelling and prints all spellings that are in use. The
first and the last three can be part of an image name.`,
		Example: "  converter name QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a",
		Args:    cobra.MatchAll(someReferences, cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cidname.ParseAny(args[0])
			if ref, other := parseReference(args[0]); err != nil && other == nil {
				c, err = ref.root, nil
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
