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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "converter: %v\n", err)
		os.Exit(1)
	}
}
