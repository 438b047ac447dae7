package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// findState returns the state of a store's own root that an argument names: by its address,
// or by its number in converter log.
func findState(ctx context.Context, s *store.Store, arg string) (cid.Cid, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		ref, err := parseReference(arg)
		if err == nil && !ref.IsAll() {
			err = fmt.Errorf("%s names an image, and a state is named by its address alone", arg)
		}
		return ref.root, err
	}
	if n < 0 {
		return cid.Undef, fmt.Errorf("there is no state %d: 1 is the state before the current one", n)
	}
	states, err := s.Root().States(ctx, n+1)
	if err != nil {
		return cid.Undef, err
	}
	if n >= len(states) {
		return cid.Undef, fmt.Errorf("there is no state %d: `converter log` lists the states of the store %s", n, s.Dir())
	}
	return states[n].Root, nil
}

// completeStates completes the address of a kept state.
func completeStates(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	at, err := storeAt(cmd.Flags().Lookup("store").Value.String())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	const most = 100
	states, _ := at.openStore().Root().States(cmd.Context(), most)
	var completions []string
	for i, s := range states {
		if address := origin.Address(s.Root); i > 0 && s.Kept && strings.HasPrefix(address, typed) {
			change, _ := describeActions(s.Actions)
			completions = append(completions, cobra.CompletionWithDesc(address, oneLine(change)))
		}
	}
	return completions, cobra.ShellCompDirectiveNoFileComp
}
