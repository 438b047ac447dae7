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
	"strings"
	"syscall"
	"unicode"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "converter: %s\n", oneLine(err.Error()))
		os.Exit(1)
	}
}

// endings are the signals that end the program. Whoever has it go on without its
// terminal, as nohup does, had it ignore the terminal's.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// oneLine makes a line out of what may quote an archive's or a node's words.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
