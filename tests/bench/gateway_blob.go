package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// blob compares serving a layer, verified, with passing it on.
func (b *bench) blob(_ *node, p published) error {
	ours, err := b.registry(nodeGateway)
	if err != nil {
		return err
	}
	defer ours.stop()
	peer, err := b.caddy(peerAddress, "uri replace /v2/ /ipfs/ 1\nreverse_proxy "+nodeGateway)
	if err != nil {
		return err
	}
	defer peer.stop()
	load := func(s *server) func() ([]float64, error) {
		return func() ([]float64, error) { return s.load(p, 4) }
	}
	if _, err := errorsOf(load(ours), load(peer)); err != nil { // once before it counts
		return err
	}
	return b.figures([]figure{
		{"verified blob, " + p.shape + " : reverse_proxy, 4 clients, throughput", "MB/s", 0.7, true},
		{"the same, processor time", "s for 100 MB", 2.2, false},
	}, load(ours), load(peer))
}

func errorsOf(fs ...func() ([]float64, error)) (values []float64, err error) {
	for _, f := range fs {
		_, e := f()
		err = errors.Join(err, e)
	}
	return nil, err
}

// load has clients download the layer at the same time, and returns the MB a
// second that they got and the seconds of processor time for 100 MB.
func (s *server) load(p published, clients int) ([]float64, error) {
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	var group errgroup.Group
	for range clients {
		group.Go(func() error { return download(s.url+p.inRegistry(p.layer), p.size) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	wall := time.Since(start)
	after, err := s.cpu()
	mb := float64(p.size) * float64(clients) / 1e6
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
