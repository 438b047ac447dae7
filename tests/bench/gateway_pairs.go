package main

import "fmt"

// A figure is something of which each turn gives a value, and its bar.
type figure struct {
	name  string
	unit  string
	bar   float64
	least bool // the bar is the least, not the most
}

// figures takes values of ours and the peer's by turns, one for each figure, and
// prints how many times the peer's ours are. Without a peer, it prints ours.
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

// verdict judges by the better quartile.
func (f figure) verdict(low, high float64) string {
	switch {
	case !f.least:
		return verdict(low, f.bar)
	case high >= f.bar:
		return fmt.Sprintf("meets %.2f", f.bar)
	}
	return fmt.Sprintf("MISSES %.2f", f.bar)
}
