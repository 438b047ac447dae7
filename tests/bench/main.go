// Bench measures the programs in bin/ against named peers on this machine:
//
//	make bench
//
// It prints ratios, since machines differ and are shared: times of different runs cannot
// be compared, but those of a pair in one run can. Each measure runs our command and the
// peer's alternately, and prints the median of the ratios and their quartiles. A bar is
// missed if the better quartile misses it.
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
	if err := checkNeeds(); err != nil {
		return err
	}
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
		(*bench).memory, (*bench).store, (*bench).uncompressed, (*bench).kubo, (*bench).size, (*bench).secondVersion, (*bench).compressedVersions, (*bench).export, (*bench).serving, (*bench).gateways,
	} {
		if err := measure(b); err != nil {
			return err
		}
	}
	return nil
}

// A bench is a run of all measures.
type bench struct {
	ctx             context.Context
	work            string // a temporary directory
	converter       string // the program's path
	v1, v2, touched string // archives of an image, a new version, and v2 with other file times
}
