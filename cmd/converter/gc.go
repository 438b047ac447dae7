package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newCollectCommand() *cobra.Command {
	var (
		f      storeFlag
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove files from a store that no image needs",
		Long: `Gc removes from a store the files that none of its images needs: those left by
converter rm, and by a converter that was killed. Images can be converted and served
while gc runs. Gc can be interrupted at any time.`,
		Example: `  converter gc
  converter gc --store /srv/images --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			collected, err := s.Collect(cmd.Context(), dryRun)
			if err == nil || collected.Files > 0 {
				fmt.Fprintln(cmd.OutOrStdout(), formatCollected(collected, dryRun))
			}
			return inStore(s, err)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print how much would be removed, and remove nothing")
	return cmd
}

func formatCollected(c store.Collected, dryRun bool) string {
	done, files := "removed", "files"
	if dryRun {
		done = "would remove"
	}
	if c.Files == 1 {
		files = "file"
	}
	return fmt.Sprintf("%s %s %s, %s", done, humanize.Comma(int64(c.Files)), files, humanize.Bytes(uint64(c.Bytes)))
}
