// Bench measures the programs in bin/ against named peers on this machine:
//
//	make bench
//	make bench PARTS="push root uploads"
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
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// A part of the bench prints a few rows. Its name selects it.
type part struct {
	name  string
	run   func(*bench) error
	needs []string // programs; nil for all
}

var parts = []part{
	{"memory", (*bench).memory, nil},
	{"store", (*bench).store, nil},
	{"uncompressed", (*bench).uncompressed, nil},
	{"kubo", (*bench).kubo, nil},
	{"size", (*bench).size, nil},
	{"second", (*bench).secondVersion, nil},
	{"compressed", (*bench).compressedVersions, nil},
	{"export", (*bench).export, nil},
	{"serve", (*bench).serving, nil},
	{"gateways", (*bench).gateways, nil},
	{"push", (*bench).pushing, []string{"skopeo", "docker-registry", "distribution", "olareg"}},
	{"root", (*bench).largeRoot, []string{}},
	{"uploads", (*bench).uploads, []string{}},
}

func run(ctx context.Context, names []string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	if err := checkNeeds(chosen); err != nil {
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
	for _, p := range chosen {
		if err := p.run(b); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the parts with the given names, in the order of parts. Without names, it
// returns all of them.
func choose(names []string) (chosen []part, err error) {
	for _, p := range parts {
		if len(names) == 0 || slices.Contains(names, p.name) {
			chosen = append(chosen, p)
		}
	}
	if len(names) > 0 && len(chosen) < len(names) {
		return nil, fmt.Errorf("some of the parts %q do not exist, or are named twice", names)
	}
	return chosen, nil
}

// A bench is a run of all measures.
type bench struct {
	ctx             context.Context
	work            string // a temporary directory
	converter       string // the program's path
	v1, v2, touched string // archives of an image, a new version, and v2 with other file times
}
