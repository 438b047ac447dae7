package main

import (
	"fmt"
	"slices"
	"time"
)

const (
	pairs     = 15
	fewPairs  = 5 // of commands that take longer than slowCycle
	slowCycle = 10 * time.Second
)

// compare runs our command and the peer's alternately, and prints the ratio of their
// times. Before each it calls reset, which is not timed, to remove what the last one left.
// A limit of 0 is no bar.
func (b *bench) compare(name string, limit float64, reset, ours, peer func() error) error {
	var mine, theirs []time.Duration
	n := pairs
	for i := 0; i < n; i++ {
		t, err := timed(reset, ours)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p, err := timed(reset, peer)
		if err != nil {
			return fmt.Errorf("%s: the peer: %w", name, err)
		}
		if max(t, p) > slowCycle {
			n = fewPairs
		}
		mine, theirs = append(mine, t), append(theirs, p)
	}
	printPairs(name, limit, mine, theirs)
	return b.ctx.Err()
}

// printPairs prints the ratio of our times and the peer's.
func printPairs(name string, limit float64, mine, theirs []time.Duration) {
	var ratios []float64
	for i := range mine {
		ratios = append(ratios, mine[i].Seconds()/theirs[i].Seconds())
	}
	low, median, high := quartiles(ratios)
	_, our, _ := quartiles(mine)
	_, their, _ := quartiles(theirs)
	fmt.Printf("%-58s %.2f  [%.2f, %.2f]  %s  (%s : %s, %d pairs)\n", name, median, low, high,
		verdict(low, limit), our.Round(time.Millisecond), their.Round(time.Millisecond), len(ratios))
}

// report prints a ratio that was measured once.
func report(name string, ratio, limit float64, detail string) {
	fmt.Printf("%-58s %.3f  %s  (%s)\n", name, ratio, verdict(ratio, limit), detail)
}

func verdict(best, limit float64) string {
	switch {
	case limit == 0:
		return "no bar"
	case best <= limit:
		return fmt.Sprintf("meets %.2f", limit)
	}
	return fmt.Sprintf("MISSES %.2f", limit)
}

func timed(reset, f func() error) (time.Duration, error) {
	if err := reset(); err != nil {
		return 0, err
	}
	start := time.Now()
	err := f()
	return time.Since(start), err
}

func quartiles[T float64 | time.Duration](values []T) (low, median, high T) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return sorted[n/4], sorted[n/2], sorted[n-1-n/4]
}

// A figure is a value that is measured in each turn, with its bar.
type figure struct {
	name  string
	unit  string
	bar   float64
	least bool // whether the bar is a minimum instead of a maximum
}

// figures measures our values and the peer's alternately, one value for each figure, and
// prints their ratios. Without a peer, it prints our values.
func (b *bench) figures(figures []figure, ours, peer func() ([]float64, error)) error {
	if peer == nil {
		peer = func() ([]float64, error) { return ones(len(figures)), nil }
	}
	mine, theirs, ratios := make([][]float64, len(figures)), make([][]float64, len(figures)), make([][]float64, len(figures))
	for range pairs {
		our, err := ours()
		if err != nil {
			return fmt.Errorf("%s: %w", figures[0].name, err)
		}
		their, err := peer()
		if err != nil {
			return fmt.Errorf("%s: the peer: %w", figures[0].name, err)
		}
		for i := range figures {
			mine[i], theirs[i] = append(mine[i], our[i]), append(theirs[i], their[i])
			ratios[i] = append(ratios[i], our[i]/their[i])
		}
	}
	for i, f := range figures {
		low, median, high := quartiles(ratios[i])
		_, our, _ := quartiles(mine[i])
		_, their, _ := quartiles(theirs[i])
		fmt.Printf("%-58s %.2f  [%.2f, %.2f]  %s  (%.4g : %.4g %s, %d pairs)\n", f.name, median, low, high,
			f.verdict(low, high), our, their, f.unit, pairs)
	}
	return b.ctx.Err()
}

func ones(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = 1
	}
	return all
}

// verdict compares the better quartile with the bar.
func (f figure) verdict(low, high float64) string {
	switch {
	case !f.least:
		return verdict(low, f.bar)
	case high >= f.bar:
		return fmt.Sprintf("meets %.2f", f.bar)
	}
	return fmt.Sprintf("MISSES %.2f", f.bar)
}
