package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// checkArguments is the cobra.PositionalArgs of the root command, whose only argument is
// a source. A word that is neither that nor a command gets the command that is meant.
func checkArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	word := args[0]
	if strings.ContainsAny(word, ":/.") {
		return cobra.MaximumNArgs(1)(cmd, args)
	}
	if word == "version" {
		return errors.New("converter has no command \"version\": did you mean `converter --version`?")
	}
	if help := otherPrograms[word]; help != "" && len(args) > 1 {
		return fmt.Errorf("converter has no command %q: %s", word, help)
	}
	var commands []string
	for _, c := range cmd.Commands() {
		commands = append(commands, c.Name())
	}
	if meant := nearest(word, commands); meant != "" {
		return fmt.Errorf("converter has no command %q: did you mean `converter %s`?", word, meant)
	}
	if len(args) > 1 {
		return fmt.Errorf("converter has no command %q, and takes at most one source: `converter --help` lists both", word)
	}
	return nil
}

// otherPrograms are commands that people expect here, and what does their work.
var otherPrograms = map[string]string{
	"pull":    "a container client pulls, such as `docker pull localhost:5000/ADDRESS`, from a registry that serves the store",
	"run":     "a container client runs images, such as `docker run localhost:5000/ADDRESS`, from a registry that serves the store",
	"push":    "`docker save IMAGE | converter` puts an image on IPFS, and `converter copy` moves one",
	"add":     "`docker save IMAGE | converter` puts an image on IPFS",
	"convert": "`docker save IMAGE | converter` converts an image, and `converter docker://IMAGE` one in a registry",
	"save":    "`converter export` writes an archive",
	"load":    "`converter -i FILE` reads an archive",
	"ls":      "`converter images` lists the images of a store",
	"list":    "`converter images` lists the images of a store",
	"serve":   "Caddy serves images, with the module ipfs_registry",
}

// explainFlag adds to the error for an unknown flag the one that is meant.
func explainFlag(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var flags []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, f.Name)
		}
	})
	if meant := nearest(unknown.GetSpecifiedName(), flags); meant != "" {
		return fmt.Errorf("%w: did you mean --%s?", err, meant)
	}
	return fmt.Errorf("%w: `%s --help` lists the flags", err, cmd.CommandPath())
}

// nearest returns the word that s is most likely a misspelling of, or nothing: at most
// one letter in three is another, missing or too many.
func nearest(s string, words []string) string {
	best, found := len(s)/3+1, ""
	for _, w := range words {
		if d := editDistance(s, w); d < best {
			best, found = d, w
		}
	}
	return found
}

// editDistance returns how many letters it takes to change, add, drop or swap with the
// next to make b of a.
func editDistance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = slices.Min([]int{last[j] + cost, last[j+1] + 1, row[j] + 1})
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
