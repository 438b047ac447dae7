package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func newLogCommand() *cobra.Command {
	var (
		f      storeFlag
		asJSON bool
		number int
	)
	cmd := &cobra.Command{
		Use:   "log",
		Short: "List the states of a store's own root",
		Long: `Log lists the states of a store's own root, the newest first: the number by which
converter rollback takes it, when it began, its address, what changed, and who changed
it. A state without a number is no longer kept.

The address of a state holds all images that the root had. It is for operators: the
images of one repository have an address of their own, which converter prints when it
adds them.`,
		Example: `  converter log
  converter log -n 0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			if number < 0 {
				return fmt.Errorf("-n %d: give the number of states to list, or 0 for all", number)
			}
			if number == 0 {
				number = math.MaxInt
			}
			states, err := s.Root().States(cmd.Context(), number)
			if err != nil {
				return inStore(s, err)
			}
			if len(states) == 0 {
				return fmt.Errorf("the store %s has no root of its own: `converter --onto root` adds images to it", s.Dir())
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), listStates(states), "\t")
			}
			return printStates(cmd.OutOrStdout(), states)
		},
	}
	f.register(cmd)
	cmd.Flags().IntVarP(&number, "number", "n", 50, "list this many states; 0 lists all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything known about the states as JSON")
	return cmd
}

func printStates(w io.Writer, states []store.State) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "N\tTIME\tADDRESS\tCHANGE\tBY")
	for i, s := range states {
		number, began := strconv.Itoa(i), "-"
		if !s.Kept {
			number = "-"
		}
		if !s.Time.IsZero() {
			began = s.Time.Local().Format(time.DateTime)
		}
		change, by := describeActions(s.Actions)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", number, began, origin.Address(s.Root), oneLine(change), oneLine(by))
	}
	return t.Flush()
}

// describeActions says in one line what a change did, and who made it.
func describeActions(actions []store.Action) (change, by string) {
	if len(actions) == 0 {
		return "-", "-"
	}
	a := actions[0]
	change, by = a.What, a.User
	if a.Name != "" {
		change += " " + referenceTo(a)
	}
	if n := len(actions) - 1; n > 0 {
		change += fmt.Sprintf(" and %d more", n)
	}
	if by == "" {
		by = "-"
	}
	return change, by
}

func referenceTo(a store.Action) string {
	if _, err := digest.Parse(a.Reference); err == nil {
		return a.Name + "@" + a.Reference
	}
	return a.Name + ":" + a.Reference
}

// A listedState is what --json prints of a state.
type listedState struct {
	Number   int            `json:"n"`
	Address  string         `json:"address"`
	Time     *time.Time     `json:"time,omitempty"`     // when it began
	Replaced *time.Time     `json:"replaced,omitempty"` // when the next one began
	Kept     bool           `json:"kept"`
	Actions  []listedAction `json:"actions"`
}

type listedAction struct {
	What      string        `json:"what"`
	Name      string        `json:"name,omitempty"`
	Reference string        `json:"reference,omitempty"`
	Digest    digest.Digest `json:"digest,omitempty"`
	Address   string        `json:"address,omitempty"` // of the repository alone
	User      string        `json:"user,omitempty"`
}

func listStates(states []store.State) []listedState {
	all := make([]listedState, len(states))
	for i, s := range states {
		all[i] = listedState{i, origin.Address(s.Root), given(s.Time), given(s.Replaced), s.Kept, make([]listedAction, len(s.Actions))}
		for j, a := range s.Actions {
			all[i].Actions[j] = listedAction{a.What, a.Name, a.Reference, a.Digest, "", a.User}
			if a.Address.Defined() {
				all[i].Actions[j].Address = origin.Address(a.Address)
			}
		}
	}
	return all
}

// given returns a time, or nil for the zero time.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func newRollbackCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "rollback ADDRESS|N",
		Short: "Make an earlier state of a store's own root the current one",
		Long: `Rollback makes an earlier state of a store's own root the current one, and prints its
address. A state is named by its address, or by its number in converter log: 1 is the
state before the current one.

A rollback adds a state and removes none, so the next rollback can undo it.`,
		Example: `  converter rollback 1
  converter rollback ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one state, by its address or by its number in `converter log`")
			}
			return nil
		},
		ValidArgsFunction: completeStates,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.open(cmd.Flags())
			if err != nil {
				return err
			}
			to, err := findState(cmd.Context(), s, args[0])
			if err != nil {
				return inStore(s, err)
			}
			if _, err := s.Root().Rollback(cmd.Context(), to, userName()); err != nil {
				return inStore(s, err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), origin.Address(to))
			return err
		},
	}
	f.register(cmd)
	return cmd
}
