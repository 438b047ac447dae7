package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	slow       = 64       // clients
	slowPiece  = 64 << 10 // bytes that each reads at a time
	slowPause  = 40 * time.Millisecond
	slowPeriod = 10 * time.Second // for which they are looked at
)

// slowClients prints how much memory many clients take that read a layer each,
// at about 1.6 MB a second.
func (b *bench) slowClients(p published) error {
	s, err := b.registry(nodeGateway)
	if err != nil {
		return err
	}
	defer s.stop()
	idle, err := s.memory("VmRSS")
	if err != nil {
		return err
	}
	var clients errgroup.Group
	for range slow {
		clients.Go(func() error { return readSlowly(s.url + p.inRegistry(p.layer)) })
	}
	if err := clients.Wait(); err != nil {
		return err
	}
	most, err := s.memory("VmHWM")
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%d slow clients of a blob, %s, memory", slow, p.shape), float64(most-idle)/(1<<20), 160,
		fmt.Sprintf("MiB beside %d", idle>>20))
	return b.ctx.Err()
}

func readSlowly(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for start := time.Now(); time.Since(start) < slowPeriod; time.Sleep(slowPause) {
		if _, err := io.CopyN(io.Discard, resp.Body, slowPiece); err != nil {
			return errors.Join(errors.New("a slow client was cut off"), err)
		}
	}
	return nil
}
