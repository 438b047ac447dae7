package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// manifest compares answering with a manifest that was asked for before, by its
// tag, with Caddy's respond saying as many bytes.
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

// wrk returns how many requests a second are answered.
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
