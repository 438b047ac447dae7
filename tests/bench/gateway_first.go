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
	ours := func() (*server, error) { return b.registry(delayAddress) }
	peer := func() (*server, error) { return b.passOn(delayAddress) }
	most := 1.3
	if p.shape != "1 MiB" {
		most = 2.3 // there are nodes between the root and the leaves
	}
	for _, m := range []struct {
		name   string
		server func() (*server, error)
		at     string
		bar    float64
	}{
		{"first byte of a blob, " + p.shape + ", cold", ours, p.layer, most},
		{"the same, of reverse_proxy", peer, p.layer, 0},
		{"manifest by tag, " + p.shape + ", cold", ours, p.manifest, 1.3},
	} {
		err := b.figures([]figure{{m.name, "round trips", m.bar, false}}, func() ([]float64, error) {
			return cold(m.server, p.inRegistry(m.at))
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// nothing is an empty directory, which every node has.
const nothing = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

// cold asks a new Caddy for something, and returns the round trips to the
// gateway until its first byte came. It was asked for something else before.
func cold(start func() (*server, error), path string) ([]float64, error) {
	s, err := start()
	if err != nil {
		return nil, err
	}
	defer s.stop()
	before, err := http.Get(s.url + "/v2/" + nothing + "/manifests/1")
	if err != nil {
		return nil, err
	}
	before.Body.Close()
	began := time.Now()
	resp, err := http.Get(s.url + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %w", path, resp.Status, err)
	}
	return []float64{time.Since(began).Seconds() / roundTrip.Seconds()}, nil
}
