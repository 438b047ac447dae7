package main

import "time"

// trustless compares serving a layer from a gateway that is a round trip away
// and only gives what can be verified, with reading the CAR of it next to the
// gateway.
func (b *bench) trustless(p published) error {
	stop, err := b.delay()
	if err != nil {
		return err
	}
	defer stop()
	ours, err := b.registry(delayAddress)
	if err != nil {
		return err
	}
	defer ours.stop()
	rate := func(url string) func() ([]float64, error) {
		return func() ([]float64, error) {
			start := time.Now()
			err := download(url, p.size)
			return []float64{float64(p.size) / 1e6 / time.Since(start).Seconds()}, err
		}
	}
	return b.figures([]figure{
		{"blob as a CAR, " + p.shape + ", 50 ms away : the CAR, 0 ms", "MB/s", 0.8, true},
	}, rate(ours.url+p.inRegistry(p.layer)), rate("http://"+nodeGateway+p.inGateway(p.layer)+"?format=car&car-dups=y"))
}
