package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// blob compares serving a layer, verified, with passing it on.
func (b *bench) blob(p published) error {
	ours, err := b.registry(nodeGateway)
	if err != nil {
		return err
	}
	defer ours.stop()
	peer, err := b.passOn(nodeGateway)
	if err != nil {
		return err
	}
	defer peer.stop()
	load := func(s *server) func() ([]float64, error) {
		return func() ([]float64, error) { return s.load(p.inRegistry(p.layer), p.size) }
	}
	return b.figures([]figure{
		{"verified blob, " + p.shape + " : reverse_proxy, 4 clients, throughput", "MB/s", 0.7, true},
		{"the same, processor time", "s for 100 MB", 2.2, false},
	}, load(ours), load(peer))
}

// load has four clients download so many bytes at a path at the same time, and
// returns the MB a second that they got and the seconds of processor time for
// 100 MB.
func (s *server) load(path string, size int64) ([]float64, error) {
	const clients = 4
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	var group errgroup.Group
	for range clients {
		group.Go(func() error { return download(s.url+path, size) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	wall := time.Since(start)
	after, err := s.cpu()
	mb := float64(size) * clients / 1e6
	return []float64{mb / wall.Seconds(), (after - before) / mb * 100}, err
}

// download reads what is at a URL, of which so many bytes are wanted.
func download(url string, size int64) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf := make([]byte, 256<<10)
	var n int64
	for err == nil {
		var read int
		read, err = resp.Body.Read(buf)
		n += int64(read)
	}
	if err != io.EOF {
		return err
	}
	if resp.StatusCode != http.StatusOK || n < size {
		return fmt.Errorf("%s: %s, %d bytes of %d", url, resp.Status, n, size)
	}
	return nil
}
