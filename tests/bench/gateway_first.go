package main

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// firstByte counts the round trips until something comes, from a Caddy that does
// not know any of it yet.
func (b *bench) firstByte(p published) error {
	stop, err := b.delay()
	if err != nil {
		return err
	}
	defer stop()
	most := 1.3
	if p.shape != "1 MiB" {
		most = 2.3 // there are nodes between the root and the leaves
	}
	err = b.figures([]figure{{"first byte of a blob, " + p.shape + ", cold", "round trips", most, false}}, func() ([]float64, error) {
		return b.cold(p.inRegistry(p.layer))
	}, nil)
	if err != nil {
		return err
	}
	return b.figures([]figure{{"manifest by tag, " + p.shape + ", cold", "round trips", 1.3, false}}, func() ([]float64, error) {
		return b.cold(p.inRegistry(p.manifest))
	}, nil)
}

// nothing is an empty directory, which every node has.
const nothing = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

// cold asks a new Caddy for something, and returns the round trips to the
// gateway until its first byte came. It was asked for something else before.
func (b *bench) cold(path string) ([]float64, error) {
	s, err := b.registry(delayAddress)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	before, err := http.Get(s.url + "/v2/" + nothing + "/manifests/1")
	if err != nil {
		return nil, err
	}
	before.Body.Close()
	start := time.Now()
	resp, err := http.Get(s.url + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %w", path, resp.Status, err)
	}
	return []float64{time.Since(start).Seconds() / roundTrip.Seconds()}, nil
}
