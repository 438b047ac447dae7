package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// complete has a shell complete what a command takes: directories, files, and
// images of the store.
func complete(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
	if strings.Contains(cmd.Use, "REF") {
		cmd.ValidArgsFunction = completeReferences
	}
	// Flags that a command does not have are no mistake here.
	_ = cmd.MarkFlagDirname("store")
	_ = cmd.MarkFlagFilename("car", "car")
	_ = cmd.MarkFlagFilename("input")
	_ = cmd.RegisterFlagCompletionFunc("onto", completeReferences)
}

// completeReferences lists the images of the store that --store names, or of the
// default one.
func completeReferences(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	var p place
	if flag := cmd.Flags().Lookup("store"); flag != nil {
		p.store = flag.Value.String()
	}
	dir, err := p.dir()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	records, _ := store.Open(dir).Images(cmd.Context()) // of which damaged ones are left out
	var references []string
	for _, r := range records {
		for _, img := range r.Images {
			if address := addressOf(r, img); strings.HasPrefix(address, typed) {
				references = append(references, cobra.CompletionWithDesc(address, img.Tag))
			}
		}
	}
	return references, cobra.ShellCompDirectiveNoFileComp
}
