// Converter puts container images on IPFS.
//
//	docker save nginx | converter
//
// prints the reference to pull. See `converter --help`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(execute(ctx, newCommand()))
}

// execute runs the command and returns the program's exit status. It prints an error as one
// line.
func execute(ctx context.Context, cmd *cobra.Command) int {
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "converter: %s\n", oneLine(withHint(err).Error()))
		return 1
	}
	return 0
}

// endSignals returns the signals that end the program. nohup starts programs with
// SIGHUP ignored, and then it stays ignored.
func endSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
