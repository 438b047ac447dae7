package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"
)

const (
	idle   = 10_000 // connections that are idle after one request
	active = 2_000  // connections that send a second request, all at once
)

// idle prints how much memory a server needs for many idle connections and many requests
// at once. All requests must be answered.
func (b *bench) idle(p kept) error {
	s, err := b.caddy(ourAddress, "ipfs_registry {\n\tstore "+p.store+"\n}")
	if err != nil {
		return err
	}
	defer s.stop()
	before, err := s.memory("VmRSS")
	if err != nil {
		return err
	}
	conns := make([]net.Conn, idle+active)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	var opening errgroup.Group
	opening.SetLimit(64)
	for i := range conns {
		opening.Go(func() (err error) {
			if conns[i], err = net.Dial("tcp", host(s)); err != nil {
				return err
			}
			return answered(conns[i], host(s), "/v2/")
		})
	}
	if err := opening.Wait(); err != nil {
		return fmt.Errorf("opening %d connections: %w", len(conns), err)
	}
	var asking errgroup.Group
	for _, c := range conns[idle:] {
		asking.Go(func() error { return answered(c, host(s), p.manifest()) })
	}
	if err := asking.Wait(); err != nil {
		return fmt.Errorf("%d requests at once: %w", active, err)
	}
	most, err := s.memory("VmHWM")
	if err != nil {
		return err
	}
	fmt.Printf("%-58s %d MiB beside %d, no error\n", fmt.Sprintf("%d idle connections, %d active, memory", idle, active), (most-before)>>20, before>>20)
	return b.ctx.Err()
}

// answered sends a request on a connection and reads the answer. The status must be 200.
func answered(c net.Conn, host, path string) error {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<10), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}
