package main

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// gateways measures the cost of verifying a gateway, here Kubo, for a layer in each of the
// shapes that layers have on IPFS.
func (b *bench) gateways() error {
	n, err := b.newNode(filepath.Join(b.work, "gateway"))
	if err != nil {
		return err
	}
	defer func() { n.stop() }() // the node is restarted below
	images, err := b.publish(n)
	if err != nil {
		return err
	}
	for _, measure := range []func(*bench, published) error{
		(*bench).blob, (*bench).manifest, (*bench).firstByte, (*bench).slowClients,
	} {
		for _, p := range images {
			if err := measure(b, p); err != nil {
				return err
			}
		}
	}
	if err := b.crowd(images[0]); err != nil {
		return err
	}
	n.stop()
	if err := n.ipfs("config", "--json", "Gateway.DeserializedResponses", "false"); err != nil {
		return err
	}
	if err := b.startNode(n); err != nil {
		return err
	}
	for _, p := range images {
		if err := b.trustless(p); err != nil {
			return err
		}
	}
	return nil
}

// blob compares serving a verified layer with passing it on unverified.
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

// load has four clients download the file at a path, of size bytes, at the same time. It
// returns their throughput in MB a second, and the server's processor time in seconds for
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

// download reads the file at a URL, which must have size bytes or more.
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

// manifest compares requests for a manifest by tag, which is in memory, with Caddy's
// respond directive for as many bytes.
func (b *bench) manifest(p published) error {
	ours, err := b.registry(nodeGateway)
	if err != nil {
		return err
	}
	defer ours.stop()
	peer, err := b.caddy(peerAddress, "respond "+strings.Repeat("x", p.manifestSize))
	if err != nil {
		return err
	}
	defer peer.stop()
	ask := func(s *server) func() ([]float64, error) {
		return func() ([]float64, error) { return b.wrk(s.url + p.inRegistry(p.manifest)) }
	}
	return b.figures([]figure{
		{"manifest by tag, " + p.shape + ", warm : respond", "a second", 0.7, true},
	}, ask(ours), ask(peer))
}

// wrk returns how many requests a second the server at a URL answers.
func (b *bench) wrk(url string) ([]float64, error) {
	out, err := exec.CommandContext(b.ctx, "wrk", "--threads=1", "--connections=32", "--duration=2s",
		"--header=Accept: "+layout.DockerManifest, url).Output()
	if err != nil {
		return nil, fmt.Errorf("wrk: %w", err)
	}
	if strings.Contains(string(out), "Non-2xx") {
		return nil, fmt.Errorf("wrk: %s", out)
	}
	_, rate, _ := strings.Cut(string(out), "Requests/sec:")
	rate, _, _ = strings.Cut(strings.TrimSpace(rate), "\n")
	n, err := strconv.ParseFloat(rate, 64)
	return []float64{n}, err
}

// firstByte measures the time until the first byte of an answer, in round trips to the
// gateway, from a Caddy that has nothing of the image in memory.
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
		most = 2.3 // these have nodes between the root and the leaves
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

// nothing is the CID of an empty directory, which every node has.
const nothing = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

// cold starts a server and requests something, and returns the time until the first byte
// in round trips to the gateway. A request for something else comes first, which opens
// the connections.
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

const (
	slow       = 64       // clients
	slowPiece  = 64 << 10 // bytes that each reads at a time
	slowPause  = 40 * time.Millisecond
	slowPeriod = 10 * time.Second // for which they read
)

// slowClients prints how much memory a server needs for many clients that each read a
// layer at about 1.6 MB a second.
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
			return fmt.Errorf("the answer to a slow client broke off: %w", err)
		}
	}
	return nil
}

// trustless compares serving a layer from a trustless-only gateway that is a round trip
// away with reading the layer's CAR from that gateway without the delay.
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
