package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newCollectCommand() *cobra.Command {
	var (
		f      storeFlag
		dryRun bool
		keep   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove files from a store that no image needs",
		Long: `Gc removes from a store the files that none of its images needs: those left by
converter rm, and by a converter that was killed. Images can be converted and served
while gc runs. Gc can be interrupted at any time.

Of the store's own root, gc keeps the current state, and each earlier state until 720
hours after the change that replaced it, or as long as --keep says.`,
		Example: `  converter gc
  converter gc --store /srv/images --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("keep") {
				if err := setKeep(s, keep, dryRun); err != nil {
					return inStore(s, err)
				}
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
	cmd.Flags().DurationVar(&keep, "keep", 0, "from now on, keep replaced states of the store's own root for this `duration`, such as 168h")
	return cmd
}

// setKeep sets how long replaced states of the store's own root are kept.
func setKeep(s *store.Store, keep time.Duration, dryRun bool) error {
	switch {
	case keep < 0:
		return fmt.Errorf("--keep %s: give a duration that is not negative, such as 168h", keep)
	case dryRun:
		return errors.New("--keep changes the store, and --dry-run changes nothing: give one of them")
	case !s.Root().Exists():
		return fmt.Errorf("--keep is for a store with a root of its own, and %s has none", s.Dir())
	}
	return s.Root().SetKeep(keep)
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
