// Nopfs runs the reference implementation of compact deny lists (IPIP-383), for tests that
// compare ours with it. It reads paths from standard input, one a line. For each it prints
// the line number of the rule that decides, and the verdict.
//
// It is its own module, so that users of the registry do not depend on the reference
// implementation.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ipfs-shipyard/nopfs"
	"github.com/ipfs/boxo/path"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "nopfs:", err)
		os.Exit(1)
	}
}

func run(args []string, paths io.Reader, verdicts io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: nopfs LIST <PATHS")
	}
	list, err := nopfs.NewDenylist(args[0], false)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(verdicts)
	in := bufio.NewScanner(paths)
	for in.Scan() {
		p, err := path.NewPath(in.Text())
		if err != nil {
			return err
		}
		v := list.IsPathBlocked(p)
		if v.Error != nil {
			return v.Error
		}
		fmt.Fprintf(out, "%d %s\n", v.Entry.Line, v.Status)
	}
	return errors.Join(in.Err(), out.Flush())
}
