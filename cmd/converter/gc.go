package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newCollectCommand() *cobra.Command {
	var (
		f      storeFlag
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Free the space of what no image of a store needs",
		Long: `Gc removes from a store what none of its images needs: what converter rm left, and
what a converter that was killed could not clean up. Images go on being converted
and served meanwhile. It can be interrupted at any time.`,
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
				fmt.Fprintln(cmd.OutOrStdout(), report(collected, dryRun))
			}
			if damaged, ok := errors.AsType[*store.ImageError](err); ok {
				return withAdvice(damaged)
			}
			return err
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say how much would go")
	return cmd
}

func report(c store.Collected, dryRun bool) string {
	done, files := "removed", "files"
	if dryRun {
		done = "would remove"
	}
	if c.Files == 1 {
		files = "file"
	}
	return fmt.Sprintf("%s %s %s, %s", done, humanize.Comma(int64(c.Files)), files, humanize.Bytes(uint64(c.Bytes)))
}

// withAdvice says what to do about an image of which it is not known what it
// needs.
func withAdvice(damaged *store.ImageError) error {
	root := damaged.Root.String()
	if name, err := cidname.Format(damaged.Root); err == nil {
		root = name
	}
	return fmt.Errorf("%w: nothing of any image was removed; convert or copy that one again, or give it up with `converter rm %s`", damaged, root)
}
