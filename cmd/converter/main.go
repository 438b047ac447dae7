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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "converter: %s\n", oneLine(withHint(err).Error()))
		os.Exit(1)
	}
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
