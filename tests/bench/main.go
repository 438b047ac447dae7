// Bench measures the programs in bin/ against named peers on this machine, and
// prints ratios: machines differ and are shared, so figures of different runs
// say little, and of one run's pairs a lot.
//
//	make bench
//
// A measure is a pair of commands, ours and a peer's, run by turns. Printed are
// the median of the ratios and their quartiles. A bar is missed when even the
// better quartile misses it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	work, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{ctx: ctx, work: work, converter: "bin/converter"}
	if b.v1, b.v2, b.touched, err = images(ctx); err != nil {
		return err
	}
	fmt.Printf("image: %s, %.0f MB\n\n", filepath.Base(b.v2), float64(fileSize(b.v2))/1e6)
	for _, measure := range []func(*bench) error{
		(*bench).memory, (*bench).store, (*bench).uncompressed, (*bench).kubo, (*bench).size, (*bench).secondVersion, (*bench).export, (*bench).serving, (*bench).gateways,
	} {
		if err := measure(b); err != nil {
			return err
		}
	}
	return nil
}

// A bench has what measures share.
type bench struct {
	ctx             context.Context
	work            string
	converter       string
	v1, v2, touched string // archives of an image, a new version, and v2 with other times
}
